# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes below layers that were made outside dos.vm are left as they are, and the other objects of the host are not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from dosvm.apply import Outcome, converge, remove
from dosvm.errors import ConflictError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.plan.disruption import Disruption
from dosvm.plan.plan import Plan
from dosvm.xml.build import E

DATA = Address("volume", "images/data")


def declare(host: FakeHypervisor, volume: dict[str, Any] | None = None, **more: Any) -> Outcome:
    """A domain on a volume, and what is allowed."""
    permission = Permission(**more.pop("allowed", {}))
    slice_ = {
        "pools": [{"name": "images", "path": "/srv/images"}],
        "volumes": [{"pool": "images", "name": "data", "capacity": "1 GiB", **(volume or {})}],
        "domains": [
            {
                "name": "web-1",
                "memory": "64 MiB",
                "virt_type": "qemu",
                "mark": {"site": "dos"},
                "disks": [{"pool": "images", "volume": "data", "format": "qcow2"}],
            }
        ],
        **more,
    }
    return converge(decode(Slice, slice_), host, permission=permission)


def put_on(host: FakeHypervisor, file: str) -> None:
    """Have the domain's disk be a file, in its definition and while it runs."""
    held = host.objects[Address("domain", "web-1")]
    for tree in (held.xml, held.live):
        assert tree is not None
        disk = tree.find("devices/disk")
        disk.set("type", "file")
        disk.find("source").attrib.clear()
        disk.find("source").set("file", file)


@pytest.fixture
def host() -> FakeHypervisor:
    """A host whose domain runs on a layer, in another folder, over its volume."""
    host = FakeHypervisor()
    declare(host)
    host._lay("/srv/backup/nightly", 2**30)
    host.files["/srv/backup/nightly"].append(
        E("backingStore", E("path", "/srv/images/data"), E("format", type="qcow2"))
    )
    put_on(host, "/srv/backup/nightly")
    return host


def plan_of(outcome: Outcome, address: Address = DATA) -> Plan:
    return next(plan for plan in outcome.plans if plan.address == address)


def test_a_volume_below_a_layer_is_not_grown(host: FakeHypervisor) -> None:
    outcome = declare(host, {"capacity": "2 GiB"})
    assert outcome.performed == ()
    assert plan_of(outcome).needs == "the layer over it to be merged"
    assert "domain web-1 is on layer /srv/backup/nightly over it" in plan_of(outcome).reason


def test_a_volume_below_a_layer_is_not_made_anew_though_it_is_named(host: FakeHypervisor) -> None:
    outcome = declare(host, {"format": "raw"}, allowed={"data_loss": (str(DATA),)})
    assert outcome.performed == ()
    assert plan_of(outcome).needs == "the layer over it to be merged"


def test_a_volume_that_is_missing_below_a_layer_is_not_made_empty(host: FakeHypervisor) -> None:
    del host.files["/srv/images/data"]
    outcome = declare(host)
    assert outcome.performed == ()
    assert "its file is missing and domain web-1 is defined with it" in plan_of(outcome).reason


def test_a_volume_below_a_layer_is_not_removed_though_it_is_named(host: FakeHypervisor) -> None:
    named = {"prune": True, "data_loss": (str(DATA),)}
    outcome = declare(host, volumes=[], domains=[], allowed=named)
    assert outcome.performed == ()
    assert plan_of(outcome).reason == "no longer declared, and kept for domain web-1, which uses it"
    assert "Merge them first" in plan_of(outcome, Address("domain", "web-1")).reason
    with pytest.raises(ConflictError, match="is in use by domain web-1"):
        remove(DATA, host, site="dos", permission=Permission(**named))


def test_a_domain_goes_with_its_layer_when_that_is_named(host: FakeHypervisor) -> None:
    outcome = declare(host, domains=[], allowed={"prune": True, "data_loss": ("domain web-1 disk vda",)})
    assert outcome.performed[-1] == "domain web-1 has been undefined"
    assert "/srv/backup/nightly" in host.files


def test_a_volume_of_a_domain_that_is_off_is_not_removed_though_it_is_named(host: FakeHypervisor) -> None:
    host = FakeHypervisor()
    declare(host)
    host.objects[Address("domain", "web-1")].active = False
    host.objects[Address("domain", "web-1")].live = None
    named = {"prune": True, "data_loss": (str(DATA),)}
    with pytest.raises(ConflictError, match="is in use by domain web-1"):
        remove(DATA, host, site="dos", permission=Permission(**named))
    assert "/srv/images/data" in host.files


def saved(host: FakeHypervisor) -> None:
    """`virsh managedsave`."""
    held = host.objects[Address("domain", "web-1")]
    held.saved, held.live, held.active = held.live, None, False


WEB = Address("domain", "web-1")


def web(**more: Any) -> list[dict[str, Any]]:
    disks = [{"pool": "images", "volume": "data", "format": "qcow2"}]
    return [{"name": "web-1", "memory": "64 MiB", "virt_type": "qemu", "mark": {"site": "dos"}, "disks": disks, **more}]


def test_saved_memory_goes_on_with_what_it_had_and_changes_wait() -> None:
    host = FakeHypervisor()
    declare(host)
    saved(host)
    outcome = declare(host, domains=web(memory="96 MiB"))
    assert outcome.performed == ("domain web-1 has been started", "domain web-1 has been redefined")
    plan = plan_of(outcome, WEB)
    assert [(held.change.path, held.change.after) for held in plan.pending] == [("memory", "96 MiB")]
    assert (plan.needs, plan.disruption) == ("restart", Disruption.NONE)
    assert plan.notes == (
        "its memory is saved: the next start goes on with what it had then, and later changes wait for a restart",
    )
    live = host.objects[WEB].live
    assert live is not None
    assert live.findtext("memory") == "65536"
    assert declare(host, domains=web(memory="96 MiB")).performed == ()


def test_saved_memory_is_brought_back_before_a_restart_that_is_allowed() -> None:
    host = FakeHypervisor()
    declare(host)
    saved(host)
    outcome = declare(host, domains=web(memory="96 MiB"), allowed={"restart": True})
    words = [line.removeprefix("domain web-1 has been ") for line in outcome.performed]
    assert words == ["started", "redefined", "stopped", "started"]
    assert declare(host, domains=web(memory="96 MiB")).performed == ()


def test_saved_memory_of_a_domain_that_is_to_be_off_stays() -> None:
    host = FakeHypervisor()
    declare(host)
    saved(host)
    outcome = declare(host, domains=web(memory="96 MiB", active=False))
    assert outcome.performed == ("domain web-1 has been redefined",)
    assert host.objects[WEB].saved is not None


def test_saved_memory_does_not_go_on_with_another_disk_than_the_declared_one() -> None:
    host = FakeHypervisor()
    declare(host)
    saved(host)
    volumes = [{"pool": "images", "name": name, "capacity": "1 GiB"} for name in ("data", "other")]
    domains = web(disks=[{"pool": "images", "volume": "other", "format": "qcow2"}])
    outcome = declare(host, volumes=volumes, domains=domains)
    assert outcome.performed == ("volume images/other has been created",)
    assert plan_of(outcome, WEB).needs == f"data_loss: [{DATA}]"


ORIGIN = {"site": "dos", "origin": "dos_instances.web.vms.web-1"}


def renamed(host: FakeHypervisor, name: str) -> None:
    """`virsh domrename` of a domain that is off."""
    host.objects[Address("domain", name)] = held = host.objects.pop(WEB)
    held.live, held.active = None, False
    name_of = held.xml.find("name")
    assert name_of is not None
    name_of.text = name


def copied(host: FakeHypervisor, name: str) -> None:
    """`virt-clone`: another UUID, another disk, and all metadata."""
    held = deepcopy(host.objects[WEB])
    renamed_ = held.xml.find("name"), held.xml.find("uuid"), held.xml.find("devices/disk/source")
    assert None not in renamed_
    name_of, uuid, source = renamed_
    name_of.text, uuid.text = name, "c0ffee00-0000-4000-8000-00000000000c"
    source.attrib.clear()
    source.set("file", "/srv/clone")
    host._lay("/srv/clone", 2**30)
    held.live, held.active = None, False
    host.objects[Address("domain", name)] = held


def test_a_copy_that_has_the_ownership_mark_is_not_touched() -> None:
    host = FakeHypervisor()
    declare(host, domains=web(mark=ORIGIN))
    copied(host, "web-1-clone")
    outcome = declare(host, domains=web(mark=ORIGIN), allowed={"prune": True})
    assert outcome.performed == ()
    plan = plan_of(outcome, Address("domain", "web-1-clone"))
    assert plan.verdict == "unmanaged"
    assert plan.notes[0].startswith("it has the ownership mark of web-1, so it is a copy of that or was renamed")


def test_a_domain_that_was_renamed_is_not_defined_anew() -> None:
    host = FakeHypervisor()
    declare(host, domains=web(mark=ORIGIN))
    renamed(host, "old")
    outcome = declare(host, domains=web(mark=ORIGIN), allowed={"prune": True})
    assert outcome.performed == ()
    assert plan_of(outcome, WEB).reason.endswith("so it was renamed outside dos.vm: virsh domrename old web-1")
    renamed_back = host.objects.pop(Address("domain", "old"))
    name = renamed_back.xml.find("name")
    assert name is not None
    name.text = "web-1"
    host.objects[WEB] = renamed_back
    assert declare(host, domains=web(mark=ORIGIN)).performed == ("domain web-1 has been started",)


def test_a_copy_is_no_reason_not_to_define_the_domain() -> None:
    host = FakeHypervisor()
    declare(host, domains=web(mark=ORIGIN))
    copied(host, "web-1-clone")
    del host.objects[WEB]
    assert "domain web-1 has been defined" in declare(host, domains=web(mark=ORIGIN)).performed


def test_a_guest_on_another_file_is_not_restarted_though_restarts_are_allowed() -> None:
    host = FakeHypervisor()
    declare(host)
    host._lay("/srv/images/other", 2**30)
    put_on(host, "/srv/images/other")
    domain = {
        "name": "web-1",
        "memory": "64 MiB",
        "vcpus": 2,
        "virt_type": "qemu",
        "mark": {"site": "dos"},
        "disks": [{"pool": "images", "volume": "data", "format": "qcow2"}],
    }
    outcome = declare(host, domains=[domain], allowed={"restart": True})
    assert outcome.performed == ("domain web-1 has been redefined",)
    assert host.objects[Address("domain", "web-1")].active
