# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that several hosts see, or that only a dead one has: who makes them, who waits, and what may go by which name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_hosts import Hosts

from dosvm.apply import Outcome
from dosvm.compile.images import missing_images
from dosvm.compile.recall import Recall
from dosvm.compile.site import Compiled, compile_site
from dosvm.compile.volumes_elsewhere import HostVolumes, unclear_losses
from dosvm.plan.plan import Plan
from dosvm.site.load import load
from dosvm.site.site import Site

HOSTS = ("h1", "h2", "h3")
DATA = {"data": {"pool": "common", "capacity": "1 MiB"}}
VAULT = {"vault": {"volumes": ["data"], "vms": {"vault": {"host": "h2"}}}}
OWN = {"web": {"pool": "local", "vms": {"web-1": {}}}}


def site(volumes: dict[str, Any] | None = None, **instances: dict[str, Any]) -> Site:
    """Pools `common` and `local`; instances with `volumes` by name, or disks of their own in a `pool`."""
    declared = {}
    for name, held in instances.items():
        disks = [{"volume": volume} for volume in held.get("volumes", ())]
        disks += [{"pool": held["pool"], "capacity": "1 MiB"}] if "pool" in held else []
        declared[name] = {"project": "shop", "memory": "64 MiB", "disks": disks, "vms": held["vms"]}
    return load(
        {
            "dos_projects": {"shop": {}},
            "dos_pools": {"common": {"path": "/srv/common", "shared": True}, "local": {"path": "/srv/local"}},
            "dos_volumes": volumes or {},
            "dos_instances": declared,
        },
        hosts=HOSTS,
    )


def volume(outcomes: dict[str, Outcome], host: str, name: str) -> Plan | None:
    return next((plan for plan in outcomes[host].plans if str(plan.address) == f"volume {name}"), None)


def made(outcomes: dict[str, Outcome]) -> list[str]:
    return [f"{host}: {did}" for host, held in outcomes.items() for did in held.performed if did.startswith("volume")]


def failures(outcomes: dict[str, Outcome]) -> list[tuple[str, str]]:
    return [failed for held in outcomes.values() for failed in held.failures]


def test_a_shared_volume_is_made_by_a_host_that_uses_it() -> None:
    hosts = Hosts(*HOSTS)
    assert made(hosts.run(site(DATA, **VAULT))) == ["h2: volume common/data has been created"]
    assert made(hosts.run(site(DATA, **VAULT))) == []


def test_of_several_users_one_makes_it_and_the_others_find_it() -> None:
    shareable = {"data": {**DATA["data"], "format": "raw", "shareable": True}}
    vms = {"one": {"host": "h2"}, "two": {"host": "h3"}}
    hosts = Hosts(*HOSTS)
    told = hosts.run(site(shareable, both={"volumes": ["data"], "vms": vms}))
    assert failures(told) == []
    assert made(told) == ["h2: volume common/data has been created", "h3: volume common/data has been found"]


@pytest.mark.parametrize("with_store", [True, False])
def test_another_host_makes_no_empty_one_where_a_vm_is_defined_with_it(with_store: bool) -> None:
    """Item 1 of the operator's week: the VM is off on h2, and h1 is the first host of the pool."""
    off = {"vault": {"volumes": ["data"], "vms": {"vault": {"host": "h2", "power": "off"}}}}
    hosts = Hosts(*HOSTS, with_store=with_store)
    hosts.run(site(DATA, **off))
    hosts.lose("/srv/common/data")
    told = hosts.run(site(DATA, **off))
    assert made(told) == []
    plan = volume(told, "h2", "common/data")
    assert plan is not None
    assert "its file is missing and domain vault is defined with it" in plan.reason
    without = site(DATA)
    told = hosts.run(without)
    assert made(told) == []
    plan = volume(told, "h1", "common/data")
    assert plan is not None
    assert "VM vault on h2 is defined with it" in plan.reason
    assert made(hosts.run(site(DATA, **off), "volume common/data")) == ["h2: volume common/data has been created"]


def test_a_volume_that_a_vm_of_an_unreachable_host_has_waits() -> None:
    hosts = Hosts(*HOSTS)
    hosts.run(site(DATA, **VAULT))
    hosts.run(site(DATA, **VAULT))
    hosts.unreachable = {"h2"}
    hosts.lose("/srv/common/data")
    told = hosts.run(site(DATA, **VAULT))
    plan = volume(told, "h1", "common/data")
    assert plan is not None
    assert "its file is missing and it was on h2, which is unreachable" in plan.reason
    assert made(told) == []


def test_what_is_new_to_the_site_is_made_while_a_host_is_unreachable() -> None:
    hosts = Hosts(*HOSTS)
    hosts.run(site())
    hosts.unreachable = {"h3"}
    told = hosts.run(site(DATA, own={"pool": "common", "vms": {"new": {"host": "h2"}}}))
    assert made(told) == ["h1: volume common/data has been created", "h2: volume common/new-vda has been created"]


def test_without_a_store_a_declared_volume_waits_for_an_unreachable_host() -> None:
    hosts = Hosts(*HOSTS, with_store=False)
    hosts.run(site())
    hosts.unreachable = {"h3"}
    told = hosts.run(site(DATA))
    plan = volume(told, "h1", "common/data")
    assert plan is not None
    assert "h3, which shares its pool, is unreachable" in plan.reason
    assert made(told) == []


def test_a_disk_on_a_released_host_is_not_made_empty_elsewhere() -> None:
    """Item 3 of the operator's week: neither in the next run nor in one after it, until it is allowed on that host by name."""
    hosts = Hosts(*HOSTS)
    hosts.run(site(**OWN))
    (home,) = hosts.with_vm("web-1")
    hosts.unreachable = {home}
    hosts.release(home)
    for _ in range(2):
        told = hosts.run(site(**OWN))
        (there,) = [host for host in told if volume(told, host, "local/web-1-vda")]
        plan = volume(told, there, "local/web-1-vda")
        assert plan is not None
        assert f"VM web-1 was on {home} when that was released" in plan.reason
        assert plan.needs == f"data_loss: [volume local/web-1-vda on {there}]"
        assert made(told) == []
        assert hosts.with_vm("web-1") == [home]
    # What is deleted or made empty elsewhere is another volume of the same name.
    assert made(hosts.run(site(**OWN), f"volume local/web-1-vda on {home}")) == []
    told = hosts.run(site(**OWN), f"volume local/web-1-vda on {there}")
    assert made(told) == [f"{there}: volume local/web-1-vda has been created"]
    hosts.run(site(**OWN))
    assert hosts.memory.placements["web-1"].left is None


def test_the_original_is_not_deleted_by_the_name_of_the_copy() -> None:
    hosts = Hosts(*HOSTS)
    hosts.run(site(**OWN))
    (home,) = hosts.with_vm("web-1")
    hosts.unreachable = {home}
    hosts.release(home)
    hosts.run(site(**OWN))
    there = next(host for host in HOSTS if hosts.compiled and hosts.compiled.slices[host].domains)
    keys = (f"volume local/web-1-vda on {there}",)
    hosts.run(site(**OWN), *keys)
    hosts.undefine(home, "web-1")
    hosts.unreachable = set()
    told = hosts.run(site(**OWN), *keys, prune=True)
    plan = volume(told, home, "local/web-1-vda")
    assert plan is not None
    assert f"data_loss: [volume local/web-1-vda on {home}]" in plan.reason
    assert all("/srv/local/web-1-vda" in hosts.by_name[host].files for host in (home, there))
    text = f"{' and '.join(sorted((home, there)))} have such a volume each, write"
    assert text in unclear(hosts, site(**OWN), "volume local/web-1-vda")
    assert unclear(hosts, site(**OWN), f"volume local/web-1-vda on {home}") == ""


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("volume local/web-1-vda", ""),
        ("volume local/web-1-vda on h2", ""),
        ("volume local/web-1-vda on h22", "h22 does not have pool local, did you mean h2?"),
        ("volume common/data on h1", "pool common is shared, so write volume common/data"),
        ("volume common/data", ""),
        ("pool local", ""),
    ],
)
def test_a_name_without_a_host_is_good_where_one_host_has_the_volume(key: str, text: str) -> None:
    hosts = Hosts(*HOSTS)
    hosts.run(site(DATA, **OWN))
    assert text in unclear(hosts, site(DATA, **OWN), key)
    assert bool(text) == bool(unclear(hosts, site(DATA, **OWN), key))


def test_a_whole_site_is_taken_out_with_its_shared_disks() -> None:
    """The pool is declared no more, so nobody says that the hosts share it: the name is good without a host."""
    hosts = Hosts(*HOSTS)
    hosts.run(site(DATA, **VAULT))
    nothing = load({"dos_projects": {"shop": {}}}, hosts=HOSTS)
    assert sum("common/data" in state.volumes for state in hosts.states().values()) > 1
    assert unclear(hosts, nothing, "volume common/data") == ""
    told = hosts.run(nothing, "volume common/data", prune=True)
    assert failures(told) == []
    assert all("/srv/common/data" not in host.files for host in hosts.by_name.values())


def unclear(hosts: Hosts, held: Site, key: str) -> str:
    compiled, states = compiled_by(hosts, held), hosts.states()
    recall = Recall(hosts.memory, states, HOSTS)
    volumes = HostVolumes(site=held, slices=compiled.slices, by_host=compiled.machines, states=states, recall=recall)
    return "".join(map(str, unclear_losses(volumes, [key])))


def compiled_by(hosts: Hosts, held: Site) -> Compiled:
    return compile_site(held, hosts.states(), now=0.0, memory=hosts.memory)


def test_a_shared_volume_is_deleted_after_the_vm_of_another_host_is_gone() -> None:
    """Item 18 of the operator's week: h1 deletes what h2 has open."""
    hosts = Hosts(*HOSTS)
    hosts.run(site(own={"pool": "common", "vms": {"vault": {"host": "h2"}}}))
    told = hosts.run(site(), "volume common/vault-vda", prune=True)
    plan = volume(told, "h1", "common/vault-vda")
    assert plan is not None
    assert (plan.verdict, plan.reason) == ("left", "not declared, and deleted after VM vault on h2 is gone")
    assert not hosts.with_vm("vault")
    told = hosts.run(site(), "volume common/vault-vda", prune=True)
    assert made(told) == ["h1: volume common/vault-vda has been deleted"]


def test_a_shared_volume_is_not_deleted_while_a_host_of_its_pool_is_unreachable() -> None:
    hosts = Hosts(*HOSTS)
    hosts.run(site(DATA))
    hosts.unreachable = {"h3"}
    told = hosts.run(site(), "volume common/data", prune=True)
    plan = volume(told, "h1", "common/data")
    assert plan is not None
    assert plan.reason == "not declared, and deleted after h3 answers"
    assert "/srv/common/data" in hosts.common


def test_a_vm_that_is_declared_again_after_its_data_was_deleted_is_new() -> None:
    hosts = Hosts(*HOSTS)
    common = site(own={"pool": "common", "vms": {"vault": {"host": "h2"}}})
    hosts.run(common)
    for _ in range(2):
        hosts.run(site(), "volume common/vault-vda", prune=True)
    assert made(hosts.run(common)) == ["h2: volume common/vault-vda has been created"]


def test_a_host_on_which_the_shared_directory_is_not_mounted_makes_nothing_in_it() -> None:
    hosts = Hosts(*HOSTS)
    hosts.run(site(own={"pool": "common", "vms": {"vault": {"host": "h2"}}}))
    hosts.undefine("h2", "vault")
    hosts.by_name["h1"].files = type(hosts.by_name["h1"].files)({}, {})  # type: ignore[assignment]  # another directory
    hosts.memory = replace(hosts.memory, placements={})
    told = hosts.run(site(own={"pool": "common", "vms": {"vault": {"host": "h1"}}}))
    plan = volume(told, "h1", "common/vault-vda")
    assert plan is not None
    assert "its file is missing and h2 has it" in plan.reason
    assert made(told) == []


def test_an_image_that_is_on_no_host_is_refused_before_anything_is_made_of_it() -> None:
    """IMG-06. A volume that is there on the very file is made, and needs no one to find it again."""
    held = load(
        {
            "dos_projects": {"shop": {}},
            "dos_pools": {"local": {"path": "/srv/local"}},
            "dos_images": {"debian": {"file": "/srv/images/debian.qcow2", "format": "qcow2"}},
            "dos_instances": {
                "web": {
                    "project": "shop",
                    "memory": "64 MiB",
                    "disks": [{"image": "debian", "pool": "local"}],
                    "vms": {"web-1": {"host": "h1"}},
                }
            },
        },
        hosts=HOSTS,
    )
    hosts = Hosts(*HOSTS, files={"/srv/images/debian.qcow2": 2**20})
    missing = frozenset(["/srv/images/debian.qcow2"])

    def told() -> list[str]:
        states = {name: replace(state, missing_files=missing) for name, state in hosts.states().items()}
        return [f"{found.at}: {found.text}" for found in missing_images(held, compiled_by(hosts, held).slices, states)]

    text = "/srv/images/debian.qcow2 is not on h1, where volume local/web-1-vda is to be made of it"
    assert told() == [f"('dos_images', 'debian', 'file'): {text}: put the file there, or set source and checksum"]
    hosts.run(held)
    assert told() == []
