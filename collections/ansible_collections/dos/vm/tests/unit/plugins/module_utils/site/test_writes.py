# SPDX-License-Identifier: GPL-3.0-or-later
"""What a name of something that is written stands for: every spelling of one thing is that thing."""

from __future__ import annotations

import pytest

from dosvm.model.types import AbsolutePath, Name
from dosvm.site.load import load
from dosvm.site.site import Site
from dosvm.site.writes import Identity, Writes, may_be_one

HOSTS = ("h1", "h2", "h3")
IQN = "iqn.2026-01.lab:a"
VARIABLES = {
    "dos_projects": {"p": {}},
    "dos_pools": {
        "local": {"path": "/srv/local"},
        "cluster": {"path": "/cluster", "shared": True, "hosts": ["h1", "h2"]},
        "nas": {"type": "netfs", "path": "/nas", "hosts": ["h1", "h2"], "source": {"server": "nas", "export": "/vm/"}},
        "san": {"type": "iscsi", "source": {"server": "san", "target": IQN}},
        "group-1": {"type": "logical", "host": "h1", "source": {"devices": ["/dev/sdb"]}},
        "zfs": {"type": "zfs", "host": "h1", "source": {"name": "tank/vm"}},
        "ceph": {"type": "rbd", "source": {"servers": ["10.0.0.1"], "name": "vm"}},
        "small": {"path": "/srv/small", "shared": True, "host": "h3"},
    },
}


def site(**more: object) -> Site:
    return load({**VARIABLES, **more}, hosts=HOSTS, check=False)


WRITES = Writes(site())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/a", "/srv/a"),
        ("//srv//a", "/srv/a"),
        ("/srv/./a/", "/srv/a"),
        ("/srv/b/../a", "/srv/a"),
        ("/dev/mapper/group--1-lv--2", "/dev/group-1/lv-2"),
        ("/dev/mapper/control", "/dev/mapper/control"),
    ],
)
def test_a_path_has_one_spelling(path: str, name: str) -> None:
    assert [identity.name for identity in WRITES.of_path(path, None)] == [name]


def test_a_declared_path_has_one_spelling() -> None:
    assert AbsolutePath("//srv/.//vm/./") == "/srv/vm"
    assert AbsolutePath("/./") == "/"


@pytest.mark.parametrize("address", ["10.0.0.9:3260", "[fd00::9]:3260", "san:3261"])
def test_a_lun_is_one_by_whatever_path(address: str) -> None:
    declared = site(dos_volumes={"one": {"pool": "san", "lun": 1, "format": "raw"}})
    (volume,) = Writes(declared).of_volume(Name("one")).identities
    (path,) = WRITES.of_path(f"/dev/disk/by-path/ip-{address}-iscsi-{IQN.upper()}-lun-1", frozenset(["h2"]))
    (other,) = WRITES.of_path(f"/dev/disk/by-path/ip-{address}-iscsi-{IQN}-lun-2", None)
    assert volume.meets(path)
    assert not volume.meets(other)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("local", Identity("file", "/srv/local/data", frozenset(["h1"]))),
        ("cluster", Identity("file", "/cluster/data", frozenset(["h1", "h2"]), shared=True)),
        ("nas", Identity("exported file", "/vm/data", frozenset(["h1", "h2"]), shared=True, servers=("nas",))),
        ("group-1", Identity("file", "/dev/group-1/data", frozenset(["h1"]))),
        ("zfs", Identity("file", "/dev/zvol/tank/vm/data", frozenset(["h1"]))),
        ("ceph", Identity("rbd image", "vm/data", frozenset(["h1"]), shared=True, servers=("10.0.0.1",))),
    ],
)
def test_a_volume_is_what_its_pool_makes_of_it(pool: str, expected: Identity) -> None:
    declared = site(dos_volumes={"data": {"pool": pool, "capacity": "1 GiB", "format": "raw"}})
    assert Writes(declared).of_volume(Name("data"), frozenset(["h1"])).identities == (expected,)


def test_what_hosts_share_is_shared_whatever_names_it() -> None:
    (below,) = WRITES.of_path("/cluster/vm/x", frozenset(["h1"]))
    (elsewhere,) = WRITES.of_path("/cluster/vm/x", frozenset(["h3"]))
    assert below.hosts == {"h1", "h2"}
    assert not below.meets(elsewhere)


def test_a_path_is_on_a_server_where_a_pool_mounts_one_above_it() -> None:
    mounted, own = WRITES.of_path("/nas/deep/x", None)
    assert (mounted.kind, mounted.name, mounted.servers) == ("exported file", "/vm/deep/x", ("nas",))
    assert (own.kind, own.hosts) == ("file", {"h3"})


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("nas", "NAS.", True),
        ("nas", "nas.example", True),
        ("nas.example", "nas.example", True),
        ("nas.a.example", "nas.b.example", False),
        ("nas-1", "nas-2", False),
        ("nas", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "fd00::1", True),
        ("fd00::1", "[FD00:0::1]", True),
    ],
)
def test_servers_that_may_be_one(first: str, second: str, one: bool) -> None:
    assert may_be_one([first], [second]) is one
    assert may_be_one([second], [first]) is one


@pytest.mark.parametrize(
    ("disks", "own"),
    [
        ([], True),
        ([{"pool": "local", "capacity": "1 GiB"}], True),
        ([{"pool": "small", "capacity": "1 GiB"}], True),
        ([{"pool": "group-1", "capacity": "1 GiB", "format": "raw"}], True),
        ([{"pool": "cluster", "capacity": "1 GiB"}], False),
        ([{"pool": "cluster", "capacity": "1 GiB", "read_only": True}], True),
        ([{"pool": "local", "capacity": "1 GiB"}, {"pool": "nas", "capacity": "1 GiB"}], False),
    ],
)
def test_disks_that_are_the_hosts_own(disks: list[dict[str, object]], own: bool) -> None:
    declared = site(dos_instances={"web": {"project": "p", "memory": "1 GiB", "disks": disks}})
    assert Writes(declared).only_own(declared.instances[Name("web")]) is own
