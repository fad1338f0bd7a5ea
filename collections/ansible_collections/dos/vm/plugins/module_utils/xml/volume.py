# SPDX-License-Identifier: GPL-3.0-or-later
"""`<volume>`: see https://libvirt.org/formatstorage.html#storage-volume-xml.

A volume is not a definition but a file: libvirt tells what it found there, and only its size can change in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.types import ByteSize
from ..model.volume import Backing, Encryption, Volume
from .build import E
from .common import pruned
from .pool import PERMISSIONS, permissions, read_permissions
from .shape import Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def render(volume: Volume, pool_path: str, backing_capacity: int | None = None) -> Element:
    """The XML a volume is created from.

    `pool_path` is the directory of its pool, where a backing volume is found; `backing_capacity`, in bytes, is what the
    volume gets when it declares no capacity of its own.
    """
    capacity = volume.capacity if volume.capacity is not None else backing_capacity
    if capacity is not None and volume.format != "raw":
        capacity = ByteSize(capacity).kib * 1024  # what qemu-img makes of it
    compat = volume.compat or ("1.1" if volume.lazy_refcounts else None)
    return E(
        "volume",
        E("name", volume.name),
        None if capacity is None else E("capacity", int(capacity), unit="bytes"),
        None if volume.allocation is None else E("allocation", int(volume.allocation), unit="bytes"),
        E(
            "target",
            E("format", type=volume.format),
            permissions(volume.permissions),
            encryption(volume.encryption),
            compat and E("compat", compat),
            E("features", E("lazy_refcounts")) if volume.lazy_refcounts else None,
        ),
        _backing(volume.backing, pool_path) if volume.backing else None,
    )


def encryption(held: Encryption | None) -> Element | None:
    """LUKS by the value of a secret, of a volume or of a disk; see https://libvirt.org/formatstorageencryption.html."""
    if held is None:
        return None
    return E("encryption", E("secret", type="passphrase", usage=held.usage or held.secret), format="luks")


def read_encryption(element: Element | None) -> dict[str, Any] | None:
    """`Encryption` as it can be read back: libvirt forgets a volume's secret when the pool is refreshed."""
    secret = None if element is None else element.find("secret")
    usage = None if secret is None else secret.get("usage") or secret.get("uuid")
    return None if usage is None else {"secret": usage, "usage": usage}


def _backing(backing: Backing, pool_path: str) -> Element:
    path = backing.path or f"{pool_path}/{backing.volume}"
    return E("backingStore", E("path", path), E("format", type=backing.format))


def _in_bytes(element: Element) -> None:
    unit = element.attrib.pop("unit", "bytes")
    if unit != "bytes" and element.text:
        element.text = str(int(ByteSize(f"{element.text.strip()} {unit}")))


def _as_size(text: str) -> str:
    return str(ByteSize(int(text)))


# Of a file libvirt tells that it is encrypted, and not by what: a pool that was refreshed has forgotten the secret.
ENCRYPTION = shape("encryption", Attr("format"), shape("secret", whole=True, computed=True, once=True), flag=True)

SHAPE = shape(
    "volume",
    Attr("type", computed=True),
    shape("name"),
    shape("key", computed=True),
    shape("source", computed=True),
    # Without a declared size the volume has its backing's.
    *(
        shape(tag, Attr("unit"), text=True, computed=True, tidy=_in_bytes, show=_as_size)
        for tag in ("capacity", "allocation", "physical")
    ),
    shape(
        "target",
        shape("path", computed=True),
        # We are silent about a device's: it is what a partition is for, or what is in it.
        shape("format", Attr("type", field="format"), field=".", computed=True),
        PERMISSIONS,
        shape("timestamps", computed=True, whole=True),
        ENCRYPTION,
        shape("compat", computed=True),
        shape("clusterSize", Attr("unit"), text=True, computed=True),
        shape("features", shape("lazy_refcounts", flag=True), field="."),
        field=".",
    ),
    shape(
        "backingStore",
        shape("path"),
        shape("format", Attr("type", field="format"), field="."),
        shape("permissions", whole=True, computed=True),
        shape("timestamps", whole=True, computed=True),
        field="backing",
    ),
)


def parse(element: Element, pool: str) -> dict[str, Any]:
    """What a `Volume` of `pool` must declare to render like the normalised `element`."""
    backing = element.find("backingStore")
    backing_format = None if backing is None else backing.find("format")
    found = element.find("target/format")
    is_qcow2 = found is not None and found.get("type") == "qcow2"
    capacity = element.findtext("capacity")
    return pruned(
        name=element.findtext("name"),
        pool=pool,
        capacity=capacity and str(ByteSize(int(capacity))),
        format=None if found is None else found.get("type"),
        permissions=read_permissions(element.find("target/permissions")),
        compat=element.findtext("target/compat") if is_qcow2 else None,
        encryption=read_encryption(element.find("target/encryption")),
        lazy_refcounts=True if element.find("target/features/lazy_refcounts") is not None else None,
        backing=None
        if backing is None
        else pruned(
            path=backing.findtext("path"), format=None if backing_format is None else backing_format.get("type")
        ),
    )
