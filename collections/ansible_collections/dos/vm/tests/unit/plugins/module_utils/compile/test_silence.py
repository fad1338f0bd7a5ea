# SPDX-License-Identifier: GPL-3.0-or-later
"""DOMX-01: what a machine is comes from its instance, else from its image, else from the site, else it goes without saying."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.compile.site import compile_site
from dosvm.compile.states import HostState
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.domain import Domain
from dosvm.site.load import load
from dosvm.xml.explicit import explicit

IMAGE = {"file": "/srv/images/a.qcow2", "format": "qcow2"}
SITE = {"nic_model": "e1000", "disk_bus": "scsi", "disk_cache": "none", "scsi_model": "lsilogic", "cores": 1}
OF_IMAGE = {"nic_model": "rtl8139", "disk_bus": "usb", "disk_cache": "unsafe", "scsi_model": "virtio-scsi", "cores": 2}
SAID = {"model": "pcnet", "bus": "virtio", "cache": "writeback", "scsi_model": "vmpvscsi"}


def domain(
    *, site: Any = None, image: Any = None, os_type: str | None = None, disks: Any = None, **said: Any
) -> Domain:
    """The one machine of an instance that starts from the image, as its host gets it."""
    instance: dict[str, Any] = {"project": "p", "memory": "1 GiB", "vcpus": 4, "vms": {"m": {}}, "virt_type": "qemu"}
    instance |= {"disks": disks or [{"image": "a", "pool": "fast"}], "interfaces": [{"network": "lan"}], **said}
    declared = {
        "dos_projects": {"p": {}},
        "dos_pools": {"fast": {"path": "/srv/fast"}},
        "dos_networks": {"lan": {"type": "bridge", "bridge": "br-lan"}},
        "dos_images": {"a": {**IMAGE, "os_type": os_type, "properties": image}},
        "dos_volumes": {"base": {"pool": "fast", "image": "a"}, "layer": {"pool": "fast", "base": "base"}},
        "dos_system": {"properties": site},
        "dos_instances": {"i": instance},
    }
    compiled = compile_site(load(declared, hosts=("h1",)), {"h1": HostState(facts=FakeHypervisor().facts())}, now=0.0)
    (made,) = compiled.slices["h1"].domains
    return made


def told(made: Domain) -> tuple[Any, ...]:
    (disk,), (card,), cpu = made.disks, made.interfaces, made.cpu
    return card.model, disk.bus, disk.cache, made.scsi_model, cpu and (cpu.sockets, cpu.cores, cpu.threads)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        # Nothing said: what goes without saying is the lens's, and the cache is QEMU's own, writeback (DISK-T1.3, DOMX-14).
        ({}, (None, "virtio", None, None, None)),
        ({"site": SITE}, ("e1000", "scsi", "none", "lsilogic", (4, 1, 1))),
        ({"site": SITE, "image": OF_IMAGE}, ("rtl8139", "usb", "unsafe", "virtio-scsi", (2, 2, 1))),
        ({"site": SITE, "image": {"threads": 2}}, ("e1000", "scsi", "none", "lsilogic", (2, 1, 2))),
        (
            {
                "site": SITE,
                "image": OF_IMAGE,
                "disks": [{"image": "a", "pool": "fast", "bus": "virtio", "cache": "writeback"}],
                "interfaces": [{"network": "lan", "model": "pcnet"}],
                "scsi_model": "vmpvscsi",
                "cpu": {"sockets": 1, "cores": 4, "threads": 1},
            },
            ("pcnet", "virtio", "writeback", "vmpvscsi", (1, 4, 1)),
        ),
    ],
    ids=["nobody", "the site", "the image", "each field by itself", "the instance"],
)
def test_who_is_nearest_to_the_machine_has_the_word(sources: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """DOMX-01, DOMX-06, DOMX-07, DOMX-09, DOMX-14, IMG-13."""
    assert told(domain(**sources)) == expected


@pytest.mark.parametrize(("guest", "clock"), [(None, "localtime"), ("linux", None), ("windows", "localtime")])
def test_what_is_installed_in_the_image_is_the_guest_unless_the_instance_says_another(
    guest: str | None, clock: str | None
) -> None:
    """IMG-13's os_type, DOMX-05, DISK-02: with it the clock, the bus and the card that Windows wants."""
    made = explicit(domain(os_type="windows", **({"guest": guest} if guest else {})))
    windows = clock is not None
    assert (made.clock, made.disks[0].bus, made.interfaces[0].model) == (
        (clock, "sata", "e1000e") if windows else (None, "virtio", "virtio")
    )


def test_a_volume_that_is_layered_over_the_image_speaks_for_it_too() -> None:
    assert domain(image=OF_IMAGE, disks=[{"volume": "layer"}]).interfaces[0].model == "rtl8139"


def test_a_disk_that_forgets_is_not_put_where_it_cannot_be() -> None:
    made = domain(site={"disk_bus": "sata", "disk_cache": "none"}, disks=[{"image": "a"}, {"device": "cdrom"}])
    assert [(disk.bus, disk.cache) for disk in made.disks] == [("virtio", "none"), ("sata", "none")]


def test_pairs_of_queues_say_the_model() -> None:
    made = domain(site={"nic_model": "e1000"}, interfaces=[{"network": "lan", "queues": 2}])
    assert made.interfaces[0].model is None


def test_who_changes_an_image_changes_no_instance() -> None:
    """Silence stays silence in the site: else a policy would find changes in the projects of others."""
    instance = {"project": "p", "memory": "1 GiB", "disks": [{"image": "a"}]}
    of = [
        load(
            {
                "dos_projects": {"p": {}},
                "dos_images": {"a": {**IMAGE, "properties": {"cores": cores}}},
                "dos_instances": {"i": instance},
            },
            hosts=("h1",),
        ).instances
        for cores in (1, None)
    ]
    assert of[0] == of[1]
