# SPDX-License-Identifier: GPL-3.0-or-later
"""The disc of a machine that moves goes with it (CFGD-13): through libvirt, as root of both hosts, for it may have secrets.

It is in no pool, so one is made around its folder for as long as that takes; see virStorageVolUpload. Where it is read is
the same on every host, and the definition that comes after it finds it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..model.seed import ROOT
from ..xml.build import E, to_text
from . import seeds
from .connection import allowing
from .sides import is_shared

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def send(target: Any, machine: Element) -> None:
    """Bring the disc of a machine to the other host, over whatever an earlier attempt left. Raises what libvirt raises."""
    disc = _own_disc(machine)
    if disc is None:
        return
    with _folder(target, disc.parent) as pool, disc.open("rb") as data:
        _delete(pool, disc)
        size = disc.stat().st_size
        volume = E("volume", E("name", disc.name), E("capacity", size, unit="bytes"))
        volume.append(E("target", E("format", type="raw"), E("permissions", E("mode", "0600"))))
        made, stream = pool.createXML(to_text(volume)), target.newStream(0)
        made.upload(stream, 0, size, 0)
        stream.sendAll(lambda _, count, file: file.read(count), data)
        stream.finish()


def take_back(target: Any, machine: Element) -> None:
    """Nothing of it stays on a host that the machine did not come to."""
    if (disc := _own_disc(machine)) is not None:
        with _folder(target, disc.parent) as pool:
            _delete(pool, disc)


def leave_nothing(machine: str) -> None:
    """What the machine had here, once it is on the other host."""
    if not is_shared(f"{ROOT}/{machine}"):
        seeds.forget(machine)


def _own_disc(machine: Element) -> Path | None:
    """The disc of a machine, where the hosts do not have it in common."""
    path = seeds.seed_of(machine)
    return None if path is None or is_shared(path) else Path(path)


def _delete(pool: Any, disc: Path) -> None:
    with allowing("VIR_ERR_NO_STORAGE_VOL"):
        pool.storageVolLookupByName(disc.name).delete()


@contextmanager
def _folder(connection: Any, path: Path) -> Iterator[Any]:
    """The folder as a pool that is gone afterwards, and the folder is not."""
    name = f"dosvm-seed-{path.name}"
    with allowing("VIR_ERR_NO_STORAGE_POOL"):
        connection.storagePoolLookupByName(name).destroy()  # of a call that was killed
    declared = E("pool", E("name", name), type="dir")
    declared.append(E("target", E("path", str(path)), E("permissions", E("mode", "0711"))))
    pool = connection.storagePoolCreateXML(to_text(declared), libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
    try:
        yield pool
    finally:
        pool.destroy()
