# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person with virsh does to a domain of a host in memory, beside dos.vm.

Each deed changes one domain in place, its definition and what runs, and returns the file whose data must be kept then; nothing where
the domain is none that this can be done to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.hypervisor.fake_objects import Held
from dosvm.model.address import Address
from dosvm.model.slice import Permission
from dosvm.plan.disk_files import has_data, stack
from dosvm.plan.layers import layers
from dosvm.plan.plan import Context
from dosvm.xml.build import E

FOLDER = "/srv/by-hand"
Deed = Callable[[FakeHypervisor, Held], str]


def trees(held: Held) -> list[Any]:
    return [tree for tree in (held.xml, held.live) if tree is not None]


def data_disk(tree: Any) -> Any:
    """The first disk that a guest writes; `None` where it has none."""
    return next(
        (disk for disk in tree.iterfind("devices/disk") if has_data(disk) and disk.find("source") is not None), None
    )


def layer_made(host: FakeHypervisor, held: Held) -> str:
    """`virsh snapshot-create-as --disk-only --no-metadata`."""
    disk = data_disk(held.xml)
    if disk is None:
        return ""
    below = stack(disk, seen(host))[0]
    if below not in host.files:
        return ""
    top = f"{below}.nightly"
    host._lay(top, int(host.files[below].findtext("capacity") or 0))
    host.files[top].append(E("backingStore", E("path", below), E("format", type="qcow2")))
    repointed(held, top)
    return top


def other_file_put_in(host: FakeHypervisor, held: Held) -> str:
    """`virsh edit`, or a block copy that was pivoted: another file is in the place of a disk."""
    if data_disk(held.xml) is None:
        return ""
    host._lay(f"{FOLDER}/other", 2**20)
    repointed(held, f"{FOLDER}/other")
    return f"{FOLDER}/other"


def repointed(held: Held, path: str) -> None:
    for tree in trees(held):
        if (disk := data_disk(tree)) is None:
            continue
        disk.find("source").attrib.clear()
        disk.find("source").set("file", path)
        disk.set("type", "file")
        disk.find("driver").set("type", "qcow2")


def disk_attached(host: FakeHypervisor, held: Held) -> str:
    """`virsh attach-disk --persistent`."""
    path = f"{FOLDER}/attached"
    host._lay(path, 2**20)
    for tree in trees(held):
        driver, target = E("driver", name="qemu", type="qcow2"), E("target", dev="vdzz", bus="virtio")
        tree.find("devices").append(E("disk", driver, E("source", file=path), target, type="file", device="disk"))
    return path


DEEDS: tuple[Deed, ...] = (layer_made, other_file_put_in, disk_attached)


def domains(host: FakeHypervisor) -> Iterator[tuple[Address, Held]]:
    """Those of site dos."""
    observed = host.observe("dos")
    yield from (
        (address, held) for address, held in host.objects.items() if address.kind == "domain" and observed[address].ours
    )


def seen(host: FakeHypervisor) -> Context:
    """The host as a plan sees it."""
    observed = host.observe("dos")
    return Context(site="dos", host=host.facts(), permission=Permission(), observed=observed, layers=layers(observed))


def files(host: FakeHypervisor, address: Address) -> list[set[str]]:
    """The files of a domain's disks and those below them: of its definition, and of what runs."""
    context = seen(host)
    held = host.objects.get(address)
    return (
        []
        if held is None
        else [{file for disk in tree.iterfind("devices/disk") for file in stack(disk, context)} for tree in trees(held)]
    )
