# SPDX-License-Identifier: GPL-3.0-or-later
"""`<pool>`: see https://libvirt.org/formatstorage.html."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..model.pool import KINDS, Permissions, Pool, PoolSource
from ..model.secret import CREDENTIALS
from .build import E, maybe
from .common import pruned
from .compare import Change
from .merge import laid_over
from .shape import INDEX, Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


MOUNT = "{http://libvirt.org/schemas/storagepool/fs/1.0}"


def render(pool: Pool) -> Element:
    """The XML of a declared pool."""
    element = E(
        "pool",
        E("name", pool.name),
        _source(pool),
        maybe("target", E("path", pool.target) if pool.target else None, permissions(pool.permissions)),
        maybe(f"{MOUNT}mount_opts", (E(OPTION, name=name) for name in _options(pool))),
        type=pool.type,
    )
    return laid_over(element, pool.xml, SHAPE)


def _source(pool: Pool) -> Element | None:
    source = pool.source
    if source is None:
        return None
    formats = KINDS[pool.type].formats
    return E(
        "source",
        *(E("host", name=name, port=source.port) for name in (source.server, *source.servers) if name),
        source.export and E("dir", path=source.export),
        source.target and E("device", path=source.target),
        *(E("device", path=path) for path in source.devices),
        _auth(pool.type, source),
        E("name", pool.name) if pool.type == "logical" else source.name and E("name", source.name),
        E("format", type=source.format or formats[0]) if formats else None,
        source.version and E("protocol", ver=source.version),
    )


def _options(pool: Pool) -> Iterator[str]:
    """How a share of CIFS is mounted. libvirt itself only knows to ask as a guest, which a user that follows overrules."""
    source, owned = pool.source, pool.permissions
    if source is None or source.format != "cifs":
        return
    if source.user:
        yield f"username={source.user}"
        yield f"credentials={CREDENTIALS}/{source.secret}"
    # QEMU locks single bytes of a disk while it writes others, by another handle: a lock of SMB refuses that, as locks of
    # Linux do not. So locks stay on the host.
    yield "nobrl"
    # Such a server knows no owners of ours: files belong to whom the mount says.
    if owned is None:
        return
    if owned.owner is not None:
        yield f"uid={owned.owner}"
    if owned.group is not None:
        yield f"gid={owned.group}"
    if owned.mode:
        yield f"dir_mode={octal(owned.mode)}"
        yield f"file_mode={int(owned.mode, 8) & 0o666:04o}"


OPTION = f"{MOUNT}option"
# The fields that mount options come from; others are shown by their own name.
FIELDS = {
    "username": "source.user",
    "credentials": "source.secret",
    "uid": "permissions.owner",
    "gid": "permissions.group",
    "dir_mode": "permissions.mode",
}


def in_fields(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The changes as an operator declares them: libvirt's list of mount options is a user, a secret, and whose the files are."""
    rest: list[Change] = []
    mounted: dict[str, Change] = {}
    for change in changes:
        if change.key(OPTION):
            told = _in_field(change)
            before = mounted.get(told.path)
            mounted[told.path] = told if before is None else _joined(before, told)
        else:
            rest.append(change)
    # The mode of a file follows from that of its directory, and what a mount says twice is said once.
    if "permissions.mode" in mounted:
        mounted.pop("mount.file_mode", None)
    return (*(change for change in rest if change.path not in mounted), *mounted.values())


def _in_field(change: Change) -> Change:
    name, _, value = change.key(OPTION)[0].partition("=")
    value = value.removeprefix(f"{CREDENTIALS}/") or "yes"
    before, after = change.before and value, change.after and value
    return replace(change, path=FIELDS.get(name, f"mount.{name}"), before=before, after=after)


def _joined(one: Change, other: Change) -> Change:
    """An option that goes and one of that name that comes are one change."""
    return replace(one, op="replace", before=one.before or other.before, after=one.after or other.after)


AUTH = {"iscsi": "chap", "rbd": "ceph"}


def _auth(kind: str, source: PoolSource) -> Element | None:
    if source.user is None or kind not in AUTH:
        return None
    return E("auth", E("secret", usage=source.usage or source.secret), type=AUTH[kind], username=source.user)


def permissions(held: Permissions | None) -> Element | None:
    """Owner and mode, of a pool's directory or of a volume."""
    if held is None:
        return None
    return maybe(
        "permissions",
        held.mode and E("mode", held.mode),
        None if held.owner is None else E("owner", held.owner),
        None if held.group is None else E("group", held.group),
        held.label and E("label", held.label),
    )


def octal(text: str) -> str:
    """A mode as four digits."""
    return text.lstrip("0").rjust(3, "0").rjust(4, "0")


# What a directory has when we are silent is its own affair, and what a running guest's file has is libvirt's.
PERMISSIONS = shape(
    "permissions",
    shape("mode", computed=True, canon=octal),
    shape("owner", computed=True),
    shape("group", computed=True),
    shape("label", computed=True),
)

ISCSI_PORT = "3260"


def _told_by_a_guest(host: Element, declared: Element) -> bool:
    # When a machine opens a LUN libvirt writes the port that it took into the pool's definition.
    return host.get("port") == ISCSI_PORT


SHAPE = shape(
    "pool",
    Attr("type"),
    shape("name"),
    shape("uuid", computed=True),
    *(shape(tag, Attr("unit"), text=True, computed=True) for tag in ("capacity", "allocation", "available")),
    shape(
        "source",
        shape("host", Attr("name"), Attr("port", computed=_told_by_a_guest), key="@name", field="server"),
        shape("dir", Attr("path", field="export"), field="."),
        # Where partitions may still be made is libvirt's own account of the disk.
        shape(
            "device",
            Attr("path"),
            Attr("part_separator", computed=True),
            shape("freeExtent", whole=True, computed=True, key=INDEX),
            key="@path",
            field="devices",
        ),
        shape(
            "auth",
            Attr("type"),
            Attr("username", field="user"),
            shape("secret", Attr("usage"), Attr("uuid", computed=True)),
        ),
        shape("name", computed=True),
        shape("format", Attr("type", field="format", default="unknown"), field=".", computed=True),
        shape("protocol", Attr("ver", field="version"), field="."),
        computed=True,
    ),
    shape("target", shape("path"), PERMISSIONS, field=".", computed=True),
    shape(
        f"{MOUNT}mount_opts",
        shape(OPTION, Attr("name"), key="@name", field="option"),
        field="mount",
    ),
)


def parse(element: Element) -> dict[str, Any]:
    """What a `Pool` must declare to render like the normalised `element`."""
    return pruned(
        name=element.findtext("name"),
        type=element.get("type"),
        path=element.findtext("target/path") if KINDS.get(element.get("type", ""), UNKNOWN).path is None else None,
        source=_read_source(element),
        permissions=read_permissions(element.find("target/permissions")),
    )


UNKNOWN = KINDS["dir"]


def _read_source(element: Element) -> dict[str, Any] | None:
    """`PoolSource` as it can be read back: of a secret there is no more than what libvirt finds it by."""
    source, kind = element.find("source"), element.get("type", "")
    if source is None or not len(source) or kind not in KINDS or kind == "dir":
        return None
    hosts = [held.get("name") for held in source.iterfind("host")]
    devices = [held.get("path") for held in source.iterfind("device")]
    port = next((held.get("port") for held in source.iterfind("host") if held.get("port")), None)
    return pruned(
        server=hosts[0] if hosts and kind != "rbd" else None,
        servers=hosts if kind == "rbd" else None,
        port=port and int(port),
        export=_attribute(source, "dir", "path"),
        format=_attribute(source, "format", "type") if KINDS[kind].formats else None,
        version=_attribute(source, "protocol", "ver"),
        target=devices[0] if kind == "iscsi" and devices else None,
        devices=devices if kind != "iscsi" else None,
        name=source.findtext("name") if kind in ("rbd", "zfs") else None,
        user=_attribute(source, "auth", "username") or _mounted(element, "username="),
        secret=_attribute(source, "auth/secret", "usage") or _mounted(element, f"credentials={CREDENTIALS}/"),
    )


def _mounted(element: Element, beginning: str) -> str | None:
    """The rest of the mount option that begins so."""
    names = (held.get("name", "") for held in element.iterfind(f"{MOUNT}mount_opts/{OPTION}"))
    return next((name.removeprefix(beginning) for name in names if name.startswith(beginning)), None)


def _attribute(element: Element, path: str, name: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.get(name)


def read_permissions(element: Element | None) -> dict[str, Any] | None:
    """Owner and mode, as `Permissions` takes them."""
    if element is None:
        return None
    owner, group = element.findtext("owner"), element.findtext("group")
    return pruned(
        mode=element.findtext("mode"),
        owner=None if owner in (None, "-1") else int(owner),
        group=None if group in (None, "-1") else int(group),
        label=element.findtext("label"),
    )
