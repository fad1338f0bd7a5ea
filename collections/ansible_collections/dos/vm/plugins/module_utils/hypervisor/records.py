# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's checkpoints of a VM that moves, so that its chain of incremental backups goes on.

What QEMU records of changes goes with the disks. What libvirt knows of it stays, and goes with the definition that is left: so it is
kept beside, on the host that the VM leaves, until the VM is where it should be.
See https://libvirt.org/kbase/incrementalbackupinternals.html
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._thirdparty import libvirt
from ..xml.build import parse

FOLDER = Path("/var/lib/dos-vm/moving")


def keep(domain: Any) -> None:
    """Keep the checkpoints of a VM that is about to move, each after the one that it continues."""
    held = domain.listAllCheckpoints(libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)
    if not held:
        forget(domain.name())
        return
    texts = [checkpoint.getXMLDesc() for checkpoint in held]
    file = _file(domain.name())
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as kept:
        json.dump(texts, kept)
        kept.flush()
        os.fsync(kept.fileno())


def give(domain: Any) -> list[str]:
    """Define them where the VM is now. Returns the names of those whose record did not come along."""
    lost = []
    file = _file(domain.name())
    with suppress(FileNotFoundError):
        for text in json.loads(file.read_text()):
            if not define(domain, text):
                lost.append(parse(text).findtext("name") or "")
        file.unlink()
    return lost


def define(domain: Any, text: str) -> bool:
    """Define a checkpoint, once more where it is; whether QEMU has its record, which is lost when a host loses power.

    Of a VM that is off libvirt does not look.
    """
    flags = libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE
    try:
        domain.checkpointCreateXML(text, flags)
    except libvirt.libvirtError:
        return False
    return True


def forget(name: str) -> None:
    """The VM stays where it is."""
    _file(name).unlink(missing_ok=True)


def _file(name: str) -> Path:
    return FOLDER / f"{name}.checkpoints"
