# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt knows of a VM that moves and does not send along: its checkpoints, and whether it starts with its host.

Both are kept on the host that the VM leaves until the VM is where it should be. Meanwhile it starts with neither host: one that
loses power must not start what has moved. The checkpoints go on with a chain of incremental backups; what QEMU records of changes goes with
the disks. See https://libvirt.org/kbase/incrementalbackupinternals.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import durable
from .._thirdparty import libvirt
from ..xml.build import parse

FOLDER = Path("/var/lib/dos-vm/moves")


def keep(domain: Any) -> None:
    """Keep what a VM has that is about to move, and have it start with its host no more."""
    checkpoints = domain.listAllCheckpoints(libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)
    autostart = bool(domain.autostart())
    if checkpoints or autostart:
        kept = {"autostart": autostart, "checkpoints": [checkpoint.getXMLDesc() for checkpoint in checkpoints]}
        durable.folder(FOLDER.parent, 0o711)
        durable.folder(FOLDER, 0o700)
        durable.write(_file(domain.name()), json.dumps(kept))
    else:
        _file(domain.name()).unlink(missing_ok=True)
    if autostart:
        domain.setAutostart(0)


def give(domain: Any) -> list[str]:
    """Give it to the VM where it is now. Returns the names of the checkpoints whose record did not come along."""
    kept = _read(domain.name())
    lost = [parse(text).findtext("name") or "" for text in kept.get("checkpoints", ()) if not define(domain, text)]
    if kept.get("autostart"):
        domain.setAutostart(1)
    _file(domain.name()).unlink(missing_ok=True)
    return lost


def take_back(domain: Any) -> None:
    """The VM stays where it is, and starts with its host as before."""
    if _read(domain.name()).get("autostart"):
        domain.setAutostart(1)
    _file(domain.name()).unlink(missing_ok=True)


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


def _file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def _read(name: str) -> Mapping[str, Any]:
    with suppress(FileNotFoundError):
        found: Mapping[str, Any] = json.loads(_file(name).read_text())
        return found
    return {}
