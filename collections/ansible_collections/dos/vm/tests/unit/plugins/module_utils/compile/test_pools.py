# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools on servers and on devices, from the operator's words to those of a host (POOL-08, POOL-13, SECO-03)."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.pool import Pool
from dosvm.model.slice import Slice
from dosvm.site.load import load
from dosvm.xml.build import compact
from dosvm.xml.pool import render

DECLARED: dict[str, Any] = {
    "dos_secrets": {
        "chap": {"usage_type": "iscsi", "usage": "the-san", "value": "hush"},
        "cephx": {"usage_type": "ceph", "value": "hush"},
    },
    "dos_projects": {"shop": {}},
    "dos_pools": {
        "san": {"type": "iscsi", "source": {"server": "s", "target": "iqn.a", "user": "u", "secret": "chap"}},
        "nas": {"type": "netfs", "path": "/srv/nas", "source": {"server": "n", "export": "/e"}},
        "ceph": {"type": "rbd", "source": {"servers": ["m"], "name": "vms", "user": "admin", "secret": "cephx"}},
        "fast": {"type": "logical", "host": "h2", "source": {"devices": ["/dev/sdb"]}},
    },
    "dos_volumes": {"lun": {"pool": "san", "lun": 3, "format": "raw", "project": "shop"}},
    "dos_instances": {
        "db": {"project": "shop", "memory": "64 MiB", "host": "h1", "disks": [{"volume": "lun"}], "vms": {"db": {}}},
        "web": {
            "project": "shop",
            "memory": "64 MiB",
            "disks": [{"pool": "fast", "capacity": "1 GiB", "format": "raw"}],
            "vms": {"web": {}},
        },
    },
}


@pytest.fixture(scope="module")
def slices() -> dict[str, Slice]:
    states = {host: HostState(facts=FakeHypervisor().facts()) for host in ("h1", "h2")}
    return dict(compile_site(load(DECLARED, hosts=("h1", "h2")), states, now=0.0).slices)


def pool(held: Slice, name: str) -> Pool:
    (found,) = [each for each in held.pools if each.name == name]
    return found


def test_a_pool_on_a_server_is_started_where_it_is_needed_and_elsewhere_logged_out_of_or_left(
    slices: dict[str, Slice],
) -> None:
    """POOL-08, HOT-02: a session ends, and does not begin again by itself; a mount stays as it is."""
    power = {host: (pool(held, "san").active, pool(held, "san").autostart) for host, held in slices.items()}
    assert power == {"h1": (True, True), "h2": (False, False)}
    assert {(pool(held, "nas").active, pool(held, "nas").autostart) for held in slices.values()} == {(None, True)}


def test_a_pool_is_needed_by_a_disk_that_is_written_as_xml() -> None:
    fragment = "<devices><disk type='volume' device='disk'><source volume='unit:0:0:4' pool='san'/><target dev='vdb'/></disk></devices>"
    web = {**DECLARED["dos_instances"]["web"], "xml": [fragment]}
    declared = {**DECLARED, "dos_instances": {**DECLARED["dos_instances"], "web": web}}
    states = {host: HostState(facts=FakeHypervisor().facts()) for host in ("h1", "h2")}
    held = compile_site(load(declared, hosts=("h1", "h2")), states, now=0.0).slices["h2"]
    assert pool(held, "san").active is True


def test_only_a_host_that_logs_in_has_the_secret(slices: dict[str, Slice]) -> None:
    names = {host: [secret.name for secret in held.secrets] for host, held in slices.items()}
    assert names == {"h1": ["chap"], "h2": []}
    assert render(pool(slices["h1"], "san")).find("source/auth/secret[@usage='the-san']") is not None


def test_a_lun_is_called_as_libvirt_calls_it(slices: dict[str, Slice]) -> None:
    assert [f"{volume.pool}/{volume.name}" for volume in slices["h1"].volumes] == ["san/unit:0:0:3"]
    (db,) = slices["h1"].domains
    assert (db.disks[0].pool, db.disks[0].volume, db.disks[0].format) == ("san", "unit:0:0:3", "raw")


def test_a_disk_that_is_a_lun_is_not_cached_and_is_called_as_declared(slices: dict[str, Slice]) -> None:
    """DOMX-13, HOT-01; who says otherwise is obeyed."""
    (db,) = slices["h1"].domains
    assert (db.disks[0].cache, db.disks[0].serial) == ("none", "lun")
    said = {**DECLARED["dos_instances"]["db"], "disks": [{"volume": "lun", "cache": "directsync", "serial": "mine"}]}
    declared = {**DECLARED, "dos_instances": {"db": said}}
    states = {host: HostState(facts=FakeHypervisor().facts()) for host in ("h1", "h2")}
    (db,) = compile_site(load(declared, hosts=("h1", "h2")), states, now=0.0).slices["h1"].domains
    assert (db.disks[0].cache, db.disks[0].serial) == ("directsync", "mine")
    (web,) = slices["h2"].domains
    assert (web.disks[0].cache, web.disks[0].serial) == (None, None)


def test_a_machine_is_where_the_volume_group_of_its_disk_is(slices: dict[str, Slice]) -> None:
    assert [domain.name for domain in slices["h2"].domains] == ["web"]
    assert [held.name for held in slices["h1"].pools] == ["san", "nas", "ceph"]
    assert pool(slices["h2"], "fast").target == "/dev/fast"


@pytest.mark.parametrize(("kind", "name"), [("volumes", "lun"), ("pools", "san"), ("secrets", "chap")])
def test_what_is_written_about_it_for_people_changes_nothing_on_a_host(
    slices: dict[str, Slice], kind: str, name: str
) -> None:
    """VOL-05, VSNP-05, POOL-04: a label and a description may always change."""
    told = {**DECLARED[f"dos_{kind}"][name], "label": "\u4e91\u76d8", "description": "for the shop"}
    declared = {**DECLARED, f"dos_{kind}": {**DECLARED[f"dos_{kind}"], name: told}}
    states = {host: HostState(facts=FakeHypervisor().facts()) for host in ("h1", "h2")}
    again = compile_site(load(declared, hosts=("h1", "h2")), states, now=0.0).slices
    for host, held in slices.items():
        for before, after in zip(held.pools, again[host].pools, strict=True):
            assert compact(render(before)) == compact(render(after))
        assert again[host].volumes == held.volumes
