# SPDX-License-Identifier: GPL-3.0-or-later
"""The processor a guest sees, and its NUMA cells; see https://libvirt.org/formatdomain.html#cpu-model-and-topology."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .types import ByteSize, CpuSet

# What libvirt's schema takes.
FEATURE = re.compile(r"[a-z0-9_.-]+")


@declaration
class Cpu:
    """The processor the guest sees."""

    mode: Literal["host-passthrough", "host-model", "maximum", "custom"] = option(
        "How the model is chosen. Where virt_type auto comes to qemu, host-passthrough is maximum: there is no processor of "
        "the host to pass on.",
        spec="DOMX-09",
        default="host-model",
    )
    model: str | None = option("Named model, with mode custom.", spec="DOMX-09", default=None)
    features: dict[str, Literal["require", "optional", "disable", "forbid", "force"]] | None = option(
        "Features by name, over what mode and model say.", spec="DOMX-09", default=None
    )
    sockets: int | None = option("Sockets; the vCPUs when no topology is given.", spec="DOMX-09", default=None, low=1)
    cores: int | None = option("Cores of a socket.", spec="DOMX-09", default=None, low=1)
    threads: int | None = option("Threads of a core.", spec="DOMX-09", default=None, low=1)

    @property
    def count(self) -> int | None:
        """How many vCPUs the topology has; `None` when there is none."""
        return self.sockets * (self.cores or 1) * (self.threads or 1) if self.sockets else None

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.mode == "custom") != (self.model is not None):
            yield "model", "goes with mode: custom, and only with it"
        given = [name for name in ("sockets", "cores", "threads") if getattr(self, name) is not None]
        if given and len(given) < 3:
            yield "sockets", "write sockets, cores and threads together"
        for name in self.features or {}:
            if not FEATURE.fullmatch(name):
                yield (
                    f"features.{name}",
                    "is not the name of a feature, write one of virsh cpu-models, like aes or pdpe1gb",
                )


@declaration
class NumaCell:
    """Vcpus and memory that are near to each other."""

    vcpus: CpuSet = option("Its vCPUs, counted from 0, like 0-3.")
    memory: ByteSize = option("Its memory.", low=2**20)
