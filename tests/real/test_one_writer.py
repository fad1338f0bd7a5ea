# SPDX-License-Identifier: GPL-3.0-or-later
"""A host refuses the second writer of a file, whatever path leads there: at a start, an attach and a restore (VM-08)."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dosvm.apply import Outcome, converge
from dosvm.errors import HypervisorError
from dosvm.hypervisor.events import HearingHypervisor
from dosvm.hypervisor.power import Answer, carry_out
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.order import Ordering
from dosvm.model.slice import Permission, Slice
from dosvm.plan.action import DeleteVolume

pytestmark = pytest.mark.libvirt


class Host:
    """A pool in a directory that has a second path, and domains without system, so that they start at once."""

    def __init__(self, hypervisor: HearingHypervisor, prefix: str, folder: Path) -> None:
        self.hypervisor, self.prefix, self.folder = hypervisor, prefix, folder
        self.pool, self.link = folder / "pool", folder / "link"
        self.pool.mkdir()
        self.link.symlink_to(self.pool)
        self.domains: list[dict[str, Any]] = []

    def declare(self, name: str, *disks: dict[str, Any], active: bool | None = True) -> None:
        hardware = {"memory": "16 MiB", "virt_type": "qemu", "stop_timeout": 0, "mark": {"site": "test"}}
        self.domains.append({"name": self.name(name), "disks": disks, "active": active, **hardware})

    def name(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def file(self, path: Path) -> dict[str, Any]:
        return {"file": str(path), "format": "raw"}

    def converge(self) -> Outcome:
        slice_ = {
            "site": "test",
            "pools": [{"name": self.prefix, "path": str(self.pool)}],
            "volumes": [{"name": "data", "pool": self.prefix, "capacity": "1 MiB", "format": "raw"}],
            "domains": self.domains,
        }
        return converge(decode(Slice, slice_), self.hypervisor, permission=Permission())

    def order(self, verb: str, name: str, **more: Any) -> Answer:
        (answer,) = self.orders(verb, name, **more)
        return answer

    def orders(self, verb: str, *names: str, **more: Any) -> list[Answer]:
        asked = decode(Ordering, {"names": [*map(self.name, names)], "order": verb, "site": "test", **more})
        return carry_out(asked, self.hypervisor, dry_run=False, now=time.time())


@pytest.fixture
def host(prefix: str) -> Iterator[Host]:
    with (
        tempfile.TemporaryDirectory(prefix="dosvm-writer-", dir="/var/lib") as folder,
        closing(HearingHypervisor()) as hypervisor,
    ):
        Path(folder).chmod(0o755)
        made = Host(hypervisor, prefix, Path(folder))
        yield made
        for domain in made.domains:  # before the directory goes
            subprocess.run(["virsh", "destroy", domain["name"]], check=False, capture_output=True)


def test_a_second_domain_does_not_open_a_file_by_another_path(host: Host) -> None:
    """A volume of a pool is a file under a link, a hard link, and what a layer is over: each second domain stays off."""
    host.declare("first", {"pool": host.prefix, "volume": "data", "format": "raw"})
    assert host.converge().failures == ()
    os.link(host.pool / "data", host.folder / "hard")
    layer = host.folder / "layer"
    subprocess.run(
        ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", host.link / "data", "-F", "raw", layer, "1M"],
        check=True,
    )
    host.declare("linked", host.file(host.link / "data"))
    host.declare("hard", host.file(host.folder / "hard"))
    host.declare("above", {"file": str(layer), "format": "qcow2"})
    failures = dict(host.converge().failures)
    first = host.name("first")
    for name in ("linked", "hard"):
        why = failures[f"domain {host.name(name)}"]
        assert f"vda would write {host.domains[1 if name == 'linked' else 2]['disks'][0]['file']}" in why
        assert f"domain {first}, which runs, writes it (vda, {host.pool}/data): stop {first}" in why
    why = failures[f"domain {host.name('above')}"]
    # libvirt may have found the link's target already.
    over = [f"vda is layered over {folder}/data, and domain {first}" for folder in (host.link, host.pool)]
    assert any(f"{words}, which runs, writes it" in why for words in over), why
    assert f"domain {first}, which runs, writes it" in host.order("start", "hard").refused

    host.domains[0]["active"] = False
    assert host.order("stop", "first", force=True).refused == ""
    host.domains = [host.domains[3]]  # what writes the base is declared no more (VSNP-03)
    assert host.converge().failures == (), "alone it runs"
    with pytest.raises(HypervisorError, match=f"is open in domain {host.name('above')}, which runs: stop it first"):
        host.hypervisor.perform(DeleteVolume(address=Address("volume", f"{host.prefix}/data")), {})
    assert (host.pool / "data").exists()


def test_no_other_way_leads_to_a_second_writer(host: Host) -> None:
    """Also where the first is a domain of another owner: it counts as any."""
    disk = host.file(host.folder / "disk")
    (host.folder / "disk").write_bytes(bytes(2**20))
    (host.folder / "link-to-disk").symlink_to(host.folder / "disk")
    host.declare("restored", host.file(host.folder / "link-to-disk"), active=None)
    host.declare("second", host.file(host.folder / "own"), active=None)
    (host.folder / "own").write_bytes(bytes(2**20))
    host.declare("twin", disk, active=None)
    host.converge()
    (refused,) = filter(None, (answer.refused for answer in host.orders("start", "restored", "twin")))
    assert "(VM-08)" in refused, "of two that start at one moment, one does"
    host.orders("stop", "restored", "twin", force=True)
    for name in ("restored", "second"):
        assert host.order("start", name).refused == ""
    assert host.order("save", "restored").refused == ""

    foreign = host.name("foreign")
    host.domains.append({"name": foreign})
    xml = (
        f"<domain type='qemu'><name>{foreign}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file'><driver name='qemu' type='raw'/><source file='{disk['file']}'/><target dev='vda'/></disk>"
        "</devices></domain>"
    )
    (host.folder / "foreign.xml").write_text(xml)
    subprocess.run(["virsh", "-q", "create", host.folder / "foreign.xml"], check=True, capture_output=True)
    refused = host.order("restore", "restored").refused
    assert f"domain {foreign}, which runs, writes it (vda, {disk['file']}): stop {foreign}" in refused
    device = f"<disk type='file'><driver name='qemu' type='raw'/><source file='{host.folder}/link-to-disk'/><target dev='vdb'/></disk>"
    assert f"domain {foreign}, which runs, writes it" in host.order("attach", "second", device=device).refused
