# SPDX-License-Identifier: GPL-3.0-or-later
"""What the layers above need of a hypervisor. `libvirt.py` is one, `fake.py` another that needs no host."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from ..model.address import Address
from ..model.host import HostFacts, StoreState
from ..plan.action import Action
from ..plan.devices import Device
from ..plan.plan import Observed


class Hypervisor(Protocol):
    """One host. Every method raises `HypervisorError` with the operation in words and libvirt's own text and code."""

    def facts(self) -> HostFacts:
        """What the host has and can do."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Held while a run changes the host, so that two runs never do at once; waits, and says for whom, at most 60 s."""
        ...

    def observe(self, site: str, volumes: Iterable[str] = ()) -> dict[Address, Observed]:
        """Everything the host holds, in as few calls as libvirt allows. `site` decides which objects are ours.

        `volumes` are the declared ones, as `pool/name`: one whose file came without libvirt (another host made it, or a person)
        is seen as well. `info["fresh"]` of such a volume says that it may not be whole yet.

        Definitions are as libvirt writes them, not normalised. A pool that is not active has no volumes, but for the
        files of a directory: these are not active, and only their path is known. `info` of such a pool says that its `files` were
        looked at. An object that disappears while we look is left out.
        """
        ...

    def refresh(self, pool: Address) -> None:
        """Have a pool read again, whose files were changed without libvirt."""
        ...

    def devices(self, paths: tuple[str, ...]) -> dict[str, Device]:
        """What is on block devices and who uses them, by the path that was asked; one that is not there is not in it."""
        ...

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        """Do one thing. `secrets` has the values that definitions and `SetSecretValue` refer to, by name.

        A volume is never written over: `VolumeExists` where its file is there, and the host then sees it.
        """
        ...

    def note_volumes(self, volumes: Collection[str], moved: Collection[str] = ()) -> None:
        """Keep which volumes were made or found here, as `pool/name`, and the mount points of the file systems that their pools are
        on, for `facts` of later runs. `moved` are pools that may be on another one than before."""
        ...

    def note_store(self, site: str, state: StoreState) -> None:
        """Keep how far the store of a site has come, for `facts` of later runs."""
        ...

    def close(self) -> None:
        """Let go of the host."""
        ...
