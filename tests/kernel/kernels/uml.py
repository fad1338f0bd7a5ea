# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel of Debian's `user-mode-linux`: a program like any other, and what runs in it is as fast as outside.

https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html is the manual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .kernel import MEMORY, Kernel

PROGRAM = "/usr/bin/linux.uml"


@dataclass(frozen=True, slots=True)
class UserMode(Kernel):
    """The machine's files come by hostfs, its cable is a tap device."""

    DISKS: ClassVar[tuple[str, ...]] = ("ubda", "ubdb")
    SLOWER: ClassVar[int] = 1
    PROGRAMS: ClassVar[Mapping[str, str]] = {PROGRAM: "user-mode-linux"}

    @classmethod
    def missing(cls) -> Iterator[str]:
        return iter(())

    @property
    def mark(self) -> str:
        return f"umid={self.control}-{self.name}"

    def _told(self, shared: Path) -> dict[str, object]:
        # Its nf_tables has none of the families ip, ip6 and inet.
        return {
            "modules": "/usr/lib/uml/modules", "cable": "vec0", "legacy_iptables": True,
            "shared": {"source": "none", "kind": "hostfs", "data": str(shared)},
        }  # fmt: skip

    def _start(self, shared: Path) -> int:
        disks = [f"ubd{number}={self._disk(name)}" for number, name in enumerate(self.DISKS)]
        command = [
            PROGRAM, f"mem={MEMORY}M", self.mark, f"uml_dir={self.folder}/",
            "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", *self._words(),
            *disks, f"vec0:transport=tap,ifname={self.name},depth=128,gro=1,mac={self.mac}",
            "con=null", "ssl=null", "con0=fd:0,fd:1", "noreboot", "quiet",
        ]  # fmt: skip
        # Its memory is a file that is deleted at once; on a disk the machine would write it back all the time.
        return self._process(command, TMPDIR="/dev/shm")
