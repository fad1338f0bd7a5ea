# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk copied to another file while its guest runs and writes; see https://libvirt.org/kbase/live_full_disk_backup.html and
virDomainBlockCopy. The guest goes on with the copy when both are the same, and with the old one when anything fails before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from .._thirdparty import libvirt
from ..errors import ConflictError
from ..xml.build import E, parse, to_text
from .connection import saying
from .live import record

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

STEP = 0.1  # seconds between two looks


class Copied(NamedTuple):
    """How far a copy is: `done` when the guest runs on it, else `percent`."""

    done: bool
    percent: float


def block_copy(domain: Any, target: str, pool: str, volume: str, path: str, format_: str, seconds: float) -> Copied:
    """Begin the copy of a disk onto a volume that is there, or go on with it; at most `seconds`.

    When all is copied the guest goes over to the volume, and so does the definition. Raises `HypervisorError`.
    """
    with saying(f"copy {target} of {domain.name()} to {path}"):
        job = domain.blockJobInfo(target)
        if not job:
            _begin(domain, target, path, format_)
        elif path not in _mirrors(_disk(domain, target)):
            raise ConflictError(
                f"{target} of {domain.name()} is being copied elsewhere: wait for the end of that, or abort it"
            )
        deadline = time.monotonic() + seconds
        while not _ready(domain, target):
            job = domain.blockJobInfo(target)
            if time.monotonic() >= deadline:
                return Copied(False, 100 * job["cur"] / job["end"] if job and job["end"] else 0)
            time.sleep(STEP)
        domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
        _redefine(domain, target, pool, volume)
    return Copied(True, 100)


def _begin(domain: Any, target: str, path: str, format_: str) -> None:
    copy = E("disk", E("driver", type=format_), E("source", file=path), type="file")
    # The volume is there, and as libvirt made it; and a copy may not outlive the machine it is made of.
    flags = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    domain.blockCopy(target, to_text(copy), {}, flags)


def _disk(domain: Any, target: str) -> Element:
    return _of(parse(domain.XMLDesc()), target)


def _of(tree: Element, target: str) -> Element:
    found = tree.find(f"devices/disk/target[@dev='{target}']/..")
    if found is None:
        raise ConflictError(f"the machine has no disk {target}")
    return found


def _mirrors(disk: Element) -> list[str]:
    return [source.get("file", "") for source in disk.iterfind("mirror/source")]


def _ready(domain: Any, target: str) -> bool:
    mirror = _disk(domain, target).find("mirror")
    return mirror is not None and mirror.get("ready") == "yes"


def _redefine(domain: Any, target: str, pool: str, volume: str) -> None:
    """The next start takes the copy by the name of its volume."""
    tree = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))
    disk = _of(tree, target)
    source = disk.find("source")
    assert source is not None  # it has just been copied
    source.attrib.pop("file", None)
    source.set("pool", pool)
    source.set("volume", volume)
    disk.set("type", "volume")
    domain.connect().defineXML(to_text(tree))
    for side in (libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_AFFECT_LIVE):
        record(domain, to_text(disk), side, attached=True)


def source_of(domain: Any, target: str) -> str:
    """The file that a running disk is."""
    source = _disk(domain, target).find("source")
    return "" if source is None else source.get("file") or f"{source.get('pool')}/{source.get('volume')}"
