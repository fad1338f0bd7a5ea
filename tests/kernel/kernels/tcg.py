# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel of Debian's cloud images in a machine that QEMU emulates without KVM: slow, but with two processors, PCI behind an
IOMMU, virtio disks and all of nftables.

The machine's files come by virtiofs, because this kernel has no 9p: one virtiofsd for its `/`, which is mounted read-only, and
one for /srv/shared. Each ends when QEMU closes its socket.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from namespaces.errors import LabError

from . import cloud
from .kernel import MEMORY, Kernel

QEMU, VIRTIOFSD = "/usr/bin/qemu-system-x86_64", "/usr/lib/qemu/virtiofsd"
#: Nothing that a test would see, and each costs an emulated processor time at every system call or page.
PROCESSOR = "max,smap=off,smep=off,la57=off,pku=off"
#: QEMU 7.2 finds translated code by its virtual address: with a random layout every program is translated again at every start,
#: which is three times slower.
WORDS = (
    "norandmaps nokaslr mitigations=off init_on_alloc=0 tsc=reliable no_timer_check audit=0 apparmor=0 intel_iommu=on"
)
PROCESSORS = 2


@dataclass(frozen=True, slots=True)
class Emulated(Kernel):
    DISKS: ClassVar[tuple[str, ...]] = ("vda", "vdb")
    #: A disk that is a PCI device with an IOMMU group of its own, for a guest to have it to itself.
    SPARE: ClassVar[str] = "nvme0n1"
    SLOWER: ClassVar[int] = 5
    PROGRAMS: ClassVar[Mapping[str, str]] = {
        QEMU: "qemu-system-x86", VIRTIOFSD: "qemu-system-x86", "depmod": "kmod"
    }  # fmt: skip

    @classmethod
    def missing(cls) -> Iterator[str]:
        try:
            cloud.ensure()
        except LabError as error:
            yield str(error)

    def _told(self, shared: Path) -> dict[str, object]:
        return {
            "modules": str(cloud.ensure().modules), "cable": "eth0", "legacy_iptables": False,
            "shared": {"source": "shared", "kind": "virtiofs", "data": None},
        }  # fmt: skip

    def _start(self, shared: Path) -> int:
        found = cloud.ensure()
        initrd = self.folder / "initrd"
        initrd.write_bytes(cloud.initrd(found))
        # Of the machine's `/` everything is kept that was seen once; what others write to the shared folder is seen at once.
        self._serve("root", Path("/"), "always")
        self._serve("shared", shared, "none")
        # Not quiet: a machine that stands still at its boot has no other words to tell where.
        words = ["console=ttyS0", "net.ifnames=0", WORDS, *self._words()]
        command = [
            QEMU, "-name", self.mark, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35,memory-backend=memory", "-accel", "tcg,thread=multi,tb-size=1024",
            "-cpu", PROCESSOR, "-smp", str(PROCESSORS), "-m", f"{MEMORY}M",
            "-object", f"memory-backend-memfd,id=memory,size={MEMORY}M,share=on",
            "-device", "intel-iommu,intremap=on",  # before all that it stands in front of
            "-device", "pcie-root-port,id=plug,chassis=1", "-device", f"nvme,bus=plug,drive={self.SPARE},serial=spare",
            "-drive", f"file={self._disk(self.SPARE)},format=raw,if=none,id={self.SPARE},cache=unsafe",
            "-kernel", str(found.vmlinuz), "-initrd", str(initrd), "-append", " ".join(words),
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            "-netdev", f"tap,id=lan,ifname={self.name},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=lan,mac={self.mac},romfile=",
        ]  # fmt: skip
        for tag in ("root", "shared"):
            command += ["-chardev", f"socket,id={tag},path={self._socket(tag)}"]
            command += ["-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]
        for name in self.DISKS:
            command += ["-drive", f"file={self._disk(name)},format=raw,if=none,id={name},cache=unsafe"]
            command += ["-device", f"virtio-blk-pci,drive={name}"]
        return self._process(command)

    def _socket(self, tag: str) -> Path:
        return Path("/run", f"{self.mark}-{tag}")  # a path must be short to be an address

    def _serve(self, tag: str, folder: Path, cache: str) -> None:
        """Starts a virtiofsd that waits for QEMU."""
        self._socket(tag).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(self._socket(tag)))
            listening.listen(1)
            handle = listening.fileno()
            options = f"source={folder},cache={cache},sandbox=chroot,log_level=warn"
            command = [f"virtiofsd@{self.mark}", f"--fd={handle}", "-o", options]
            self._process(command, program=VIRTIOFSD, handles=[handle])
