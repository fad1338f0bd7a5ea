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
    path = seeds.seed_of(machine)
    if path is None or is_shared(path):
        return
    with _folder(target, Path(path).parent) as pool, open(path, "rb") as data:
        name, size = Path(path).name, Path(path).stat().st_size
        with allowing("VIR_ERR_NO_STORAGE_VOL"):
            pool.storageVolLookupByName(name).delete()
        volume = E("volume", E("name", name), E("capacity", size, unit="bytes"))
        volume.append(E("target", E("format", type="raw"), E("permissions", E("mode", "0600"))))
        made, stream = pool.createXML(to_text(volume)), target.newStream(0)
        made.upload(stream, 0, size, 0)
        stream.sendAll(lambda _, count, file: file.read(count), data)
        stream.finish()


def take_back(target: Any, machine: Element) -> None:
    """Nothing of it stays on a host that the machine did not come to."""
    path = seeds.seed_of(machine)
    if path is None or is_shared(path):
        return
    with _folder(target, Path(path).parent) as pool, allowing("VIR_ERR_NO_STORAGE_VOL"):
        pool.storageVolLookupByName(Path(path).name).delete()


def leave_nothing(machine: str) -> None:
    """What the machine had here, once it is on the other host."""
    if not is_shared(f"{ROOT}/{machine}"):
        seeds.forget(machine)


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
