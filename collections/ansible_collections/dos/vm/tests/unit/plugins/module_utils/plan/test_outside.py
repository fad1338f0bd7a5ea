# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes below layers that were made outside dos.vm are left as they are, and the other objects of the host are not."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.apply import Outcome, converge, remove
from dosvm.errors import ConflictError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
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


@pytest.fixture
def host() -> FakeHypervisor:
    """A host whose domain runs on a layer, in another folder, over its volume."""
    host = FakeHypervisor()
    declare(host)
    host._lay("/srv/backup/nightly", 2**30)
    host.files["/srv/backup/nightly"].append(
        E("backingStore", E("path", "/srv/images/data"), E("format", type="qcow2"))
    )
    held = host.objects[Address("domain", "web-1")]
    for tree in (held.xml, held.live):
        assert tree is not None
        disk = tree.find("devices/disk")
        disk.set("type", "file")
        disk.find("source").attrib.clear()
        disk.find("source").set("file", "/srv/backup/nightly")
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
