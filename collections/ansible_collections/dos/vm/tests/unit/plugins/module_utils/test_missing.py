# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume whose file is gone is not made anew, empty; what needs it waits; what takes its place comes before it goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dosvm.apply import Outcome, converge
from dosvm.errors import ConflictError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import ByteSize
from dosvm.plan.plain import plain
from dosvm.plan.plan import Plan

DISK = "volume local/web-1-vda"
PATH = "/srv/local/web-1-vda"
OLD, NEW = "/srv/images/old.qcow2", "/srv/images/new.qcow2"
FILES = {OLD: 2**26, NEW: 2**26}
STARTED = ("pool local has been built", "pool local has been started")


def slice_(image: str = OLD, *, mark: str = "old", on: bool = True, format_: str = "qcow2", **more: Any) -> Slice:
    """README's VM, whose disk is made of an image, as its host gets it; and a volume that no VM has."""
    disk = {"target": "vda", "pool": "local", "volume": "web-1-vda", "format": format_}
    return decode(
        Slice,
        {
            "pools": [{"name": "local", "path": "/srv/local"}],
            "volumes": [
                {"pool": "local", "name": "web-1-vda", "backing": {"path": image, "format": "qcow2"}},
                {"pool": "local", "name": "spare", "capacity": "64 MiB"},
            ],
            "domains": [
                {
                    "name": "web-1",
                    "memory": "64 MiB",
                    "disks": [disk],
                    "active": on,
                    "mark": {"site": "dos", "image": mark},
                }
            ],
            **more,
        },
    )


def run(host: FakeHypervisor, held: Slice, *data_loss: str, **how: Any) -> Outcome:
    outcome = converge(held, host, permission=Permission(restart=True, data_loss=data_loss), **how)
    assert outcome.failures == ()
    return outcome


def plan_of(outcome: Outcome, name: str) -> Plan:
    return next(plan for plan in outcome.plans if str(plan.address) == name)


@pytest.fixture
def host() -> FakeHypervisor:
    """A host on which everything is, and the VM is off."""
    made = FakeHypervisor(files=FILES)
    run(made, slice_(on=False))
    return made


def lose(host: FakeHypervisor, path: str) -> None:
    del host.files[path]
    host.known.discard(path)


def stop_pool(host: FakeHypervisor) -> None:
    host.objects[Address("pool", "local")].active = False


def test_a_vm_waits_for_its_disk_and_is_started_when_it_is_back(host: FakeHypervisor) -> None:
    kept = host.files[PATH]
    lose(host, PATH)
    for _ in range(2):
        outcome = run(host, slice_())
        volume, domain = plan_of(outcome, DISK), plan_of(outcome, "domain web-1")
        assert "its file is missing and domain web-1 is defined with it" in volume.reason
        assert (domain.reason, plain(domain)["blocked_by"]) == (f"waits for {DISK}", [DISK])
        assert (outcome.performed, PATH in host.files) == ((), False)
    host.files[PATH] = kept
    assert run(host, slice_()).performed == ("domain web-1 has been started",)


def test_a_running_vm_is_not_restarted_onto_a_missing_disk(host: FakeHypervisor) -> None:
    run(host, slice_())
    lose(host, PATH)
    held = slice_()
    outcome = run(host, replace(held, domains=(replace(held.domains[0], memory=ByteSize("128 MiB")),)))
    assert plan_of(outcome, "domain web-1").reason == f"waits for {DISK}"
    assert host.objects[Address("domain", "web-1")].active


def test_a_volume_that_no_vm_has_is_not_made_anew_either(host: FakeHypervisor) -> None:
    """VOL-T1.12."""
    lose(host, "/srv/local/spare")
    outcome = run(host, slice_(on=False))
    assert "it was made or found on this host before" in plan_of(outcome, "volume local/spare").reason
    assert "/srv/local/spare" not in host.files
    assert run(host, slice_(on=False), "volume local/spare").performed == ("volume local/spare has been created",)


def test_what_was_deleted_by_name_is_new_when_it_is_declared_again(host: FakeHypervisor) -> None:
    without = replace(slice_(on=False), volumes=slice_().volumes[:1])
    converge(without, host, permission=Permission(prune=True, data_loss=("volume local/spare",)))
    assert run(host, slice_(on=False)).performed == ("volume local/spare has been created",)


def test_a_missing_file_in_a_pool_that_is_not_active_is_in_the_plan(host: FakeHypervisor) -> None:
    lose(host, PATH)
    stop_pool(host)
    for dry in (True, False):
        outcome = run(host, slice_(), dry_run=dry)
        assert "its file is missing" in plan_of(outcome, DISK).reason
        assert plan_of(outcome, "domain web-1").reason == f"waits for {DISK}"
    assert outcome.performed == STARTED
    assert PATH not in host.files


def test_a_file_that_is_there_is_found_when_its_pool_has_started(host: FakeHypervisor) -> None:
    stop_pool(host)
    planned = run(host, slice_(), dry_run=True)
    assert not plan_of(planned, DISK).actions
    assert run(host, slice_()).performed == (*STARTED, "domain web-1 has been started")


def test_what_a_volume_lacks_is_done_after_its_pool_has_started(host: FakeHypervisor) -> None:
    stop_pool(host)
    disk, spare = slice_().volumes
    larger = replace(slice_(on=False), volumes=(disk, replace(spare, capacity=ByteSize("128 MiB"))))
    assert run(host, larger).performed == (*STARTED, "volume local/spare has been grown")


def test_a_pool_that_lost_its_definition_says_what_it_has_when_it_has_started(host: FakeHypervisor) -> None:
    del host.objects[Address("pool", "local")]
    lose(host, PATH)
    outcome = run(host, slice_())
    assert "its file is missing and domain web-1 is defined with it" in plan_of(outcome, DISK).reason
    assert PATH not in host.files


def test_a_base_is_missed_by_what_is_layered_over_it(host: FakeHypervisor) -> None:
    layer = {"pool": "local", "name": "layer", "capacity": "64 MiB", "backing": {"volume": "spare"}}
    held = decode(
        Slice,
        {
            "pools": [{"name": "local", "path": "/srv/local"}],
            "volumes": [{"pool": "local", "name": "spare", "capacity": "64 MiB"}, layer],
        },
    )
    run(host, held)
    host.noted.clear()
    lose(host, "/srv/local/spare")
    outcome = run(host, held)
    assert "/srv/local/layer is layered over it" in plan_of(outcome, "volume local/spare").reason
    assert "/srv/local/spare" not in host.files


def test_the_ownership_mark_names_the_image_that_the_disk_is_made_of(host: FakeHypervisor) -> None:
    run(host, slice_())
    blocked = run(host, slice_(NEW, mark="new"))
    assert plan_of(blocked, DISK).needs == f"data_loss: [{DISK}]"
    assert not plan_of(blocked, "domain web-1").actions
    with pytest.raises(ConflictError, match="stop it"):
        run(host, slice_(NEW, mark="new"), DISK)
    run(host, slice_(on=False))
    outcome = run(host, slice_(NEW, mark="new"), DISK)
    assert f"{DISK} has been made anew" in outcome.performed
    assert [held.change.after for held in plan_of(outcome, "domain web-1").changes] == ["new"]
    assert not run(host, slice_(NEW, mark="new")).changed


def test_a_format_that_is_not_there_yet_is_not_written_into_the_definition(host: FakeHypervisor) -> None:
    """A guest that is started on a disk of the old format with the new one in its definition would read garbage."""

    def held(form: str, *, on: bool) -> Slice:
        base = slice_(on=on, format_=form)
        spare = decode(
            Slice, {"volumes": [{"pool": "local", "name": "web-1-vda", "capacity": "64 MiB", "format": form}]}
        )
        return replace(base, volumes=spare.volumes)

    other = FakeHypervisor(files=FILES)
    run(other, held("raw", on=False))
    outcome = run(other, held("qcow2", on=True))
    assert outcome.performed == ("domain web-1 has been started",)
    driver = other.objects[Address("domain", "web-1")].xml.find("devices/disk/driver")
    assert driver is not None
    assert driver.get("type") == "raw"


def test_an_image_that_is_not_there_costs_no_disk(host: FakeHypervisor) -> None:
    before = host.files[PATH]
    permission = Permission(data_loss=(DISK,))
    ((_, why),) = [
        failed
        for failed in converge(slice_("/srv/images/typo.qcow2", on=False), host, permission=permission).failures
        if failed[0] == DISK
    ]
    assert "/srv/images/typo.qcow2" in why
    assert host.files[PATH] is before


def test_nothing_is_made_where_a_file_system_did_not_come_back(host: FakeHypervisor) -> None:
    """Neither below its mount point nor in it: what is made there is out of sight when it is mounted."""
    for path in [path for path in host.files if path.startswith("/srv/local/")]:
        lose(host, path)
    host.unmounted = {"local": "/srv"}
    new = decode(Slice, {"volumes": [{"pool": "local", "name": "new", "capacity": "1 MiB"}]}).volumes
    held = replace(slice_(), volumes=(*slice_().volumes, *new))
    outcome = run(host, held)
    assert "is not mounted at /srv" in plan_of(outcome, "volume local/new").reason
    stop_pool(host)
    outcome = run(host, held)
    assert "is not mounted at /srv: mount it" in plan_of(outcome, "pool local").reason
    assert plan_of(outcome, "volume local/new").needs
    assert not [path for path in host.files if path.startswith("/srv/local/")]
    assert run(host, held, "pool local", "volume local/new").performed == (
        *STARTED,
        "volume local/new has been created",
    )
    assert host.unmounted == {}
