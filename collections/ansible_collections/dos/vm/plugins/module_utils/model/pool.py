# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage pool of one host; see https://libvirt.org/formatstorage.html."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from .declaration import declaration, option
from .fragment_rules import check_whole
from .types import AbsolutePath, Line, Name, Word

PoolType = Literal["dir", "netfs", "iscsi", "disk", "logical", "rbd", "zfs"]


class Kind(NamedTuple):
    """What a type of pool must say of its source and may say, its formats, and where libvirt puts its volumes.

    `path`: what the target always is, with the pool's and the source's name; `None` where the operator says it. `networked`:
    the data is on a server, the same for every host. `session`: a host that has started the pool is logged in there. `block`: a
    volume is a device and not a file. `local`: the devices are one host's.
    """

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    path: str | None = None
    networked: bool = False
    session: bool = False
    block: bool = False
    local: bool = False


#: POOL-T1 and POOL-T2, and the two kinds that libvirt has beside (LIMIT-07).
KINDS: dict[str, Kind] = {
    "dir": Kind(),
    "netfs": Kind(
        ("server", "export"),
        ("format", "version", "user", "secret"),
        ("auto", "nfs", "glusterfs", "cifs"),
        networked=True,
    ),
    "iscsi": Kind(
        ("server", "target"),
        ("port", "user", "secret"),
        path="/dev/disk/by-path",
        networked=True,
        session=True,
        block=True,
    ),
    "disk": Kind(("devices",), ("format",), ("gpt", "dos"), path="/dev", block=True, local=True),
    "logical": Kind(("devices",), ("format",), ("lvm2",), path="/dev/{pool}", block=True, local=True),
    "rbd": Kind(("servers", "name"), ("port", "user", "secret"), path="", networked=True, block=True),
    "zfs": Kind(("name",), ("devices",), path="/dev/zvol/{source}", block=True, local=True),
}


def is_networked(kind: str) -> bool:
    """Whether what a pool of that type holds is on a server, and stays there when the host lets go of it."""
    return kind in KINDS and KINDS[kind].networked


def has_session(kind: str) -> bool:
    """Whether a host that has started a pool of that type is logged in on its server, and logs out by stopping it."""
    return kind in KINDS and KINDS[kind].session


@declaration
class Permissions:
    """Owner and mode of a directory or of a volume's file."""

    mode: str | None = option("Octal mode.", spec="VOL-T1.5", default=None, example="0660")
    owner: int | None = option("Numeric user ID.", spec="VOL-T1.6", default=None, low=0)
    group: int | None = option("Numeric group ID.", spec="VOL-T1.7", default=None, low=0)
    label: str | None = option("Mandatory access control label.", spec="VOL-T1.8", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.mode is not None and (not self.mode.isdigit() or set(self.mode) & set("89") or len(self.mode) > 4):
            yield "mode", f"{self.mode!r} is not an octal mode, write one like '0660'"


@declaration
class PoolSource:
    """Where the volumes of a pool come from."""

    server: Word | None = option("Host name or address of the server.", spec="POOL-T2.9", default=None, low=1)
    servers: tuple[str, ...] = option("Monitors of the Ceph cluster.", default=())
    port: int | None = option(
        "Port of the server; that of the protocol when not given.", spec="POOL-T2.10", default=None, low=1, high=65535
    )
    export: Line | None = option(
        "Exported directory of NFS, share of CIFS, volume of GlusterFS.", spec="POOL-T2.12", default=None, low=1
    )
    format: Literal["auto", "nfs", "glusterfs", "cifs", "gpt", "dos", "lvm2"] | None = option(
        "Network file system, `auto` when not given; or partition table, `gpt` when not given.",
        spec="POOL-T2.11",
        default=None,
    )
    version: Word | None = option("Version of NFS.", default=None, low=1, example="4.2")
    target: Word | None = option("Name of the iSCSI target, its IQN.", spec="POOL-T2.13", default=None, low=1)
    devices: tuple[AbsolutePath, ...] = option(
        "Block devices of the host: one that is partitioned, or those that form the volume group.",
        spec="POOL-T2.22",
        default=(),
    )
    name: Word | None = option("Pool of the Ceph cluster, or ZFS dataset.", default=None, low=1)
    user: Word | None = option(
        "User to log in as, with CHAP, cephx or to a share of CIFS; without one the share must be open to guests.",
        spec="POOL-T2.15",
        default=None,
        low=1,
    )
    secret: Name | None = option("Secret whose value is the user's password.", spec="POOL-T2.17", default=None)
    usage: str | None = option(
        "What libvirt finds the secret by; its name when not given.", spec="SECO-T1.4", default=None, low=1, high=128
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.user is None) != (self.secret is None):
            yield "secret" if self.user else "user", "a user and the secret of that user go together (POOL-T2.17)"


def check_kind(kind: str, path: str | None, source: PoolSource | None) -> Iterator[tuple[str, str]]:
    """Whether all is said that a pool of this type needs, and nothing that means nothing for it."""
    rule = KINDS[kind]
    if rule.path is None and path is None:
        yield "path", "is required, write the directory of the volumes"
    if rule.path is not None and path is not None:
        yield "path", f"is fixed for pools of type {kind}, leave it out (POOL-T2.6)"
    if source is None:
        if rule.needs:
            yield "source", f"is required for pools of type {kind}: {', '.join(rule.needs)}"
        return
    for name in rule.needs:
        if not getattr(source, name):
            yield f"source.{name}", f"is required for pools of type {kind} (POOL-T2)"
    for name in ("server", "servers", "port", "export", "format", "version", "target", "devices", "name", "user"):
        if getattr(source, name) and name not in rule.needs + rule.may:
            yield f"source.{name}", f"is not for pools of type {kind}, leave it out"
    if source.format and rule.formats and source.format not in rule.formats:
        yield "source.format", f"of a pool of type {kind} is one of {', '.join(rule.formats)}"
    if kind == "netfs" and source.user and source.format != "cifs":
        yield "source.user", "is for shares of CIFS, write format: cifs or leave it out (POOL-10)"
    if source.format == "cifs" and (source.export or "").startswith("/"):
        yield "source.export", f"of CIFS is the name of a share, write {(source.export or '').lstrip('/') or 'vm'}"
    if kind == "disk" and len(source.devices) > 1:
        yield "source.devices", "a disk pool has one device; several form a volume group, type logical (POOL-15)"


@declaration
class Pool:
    """A place that volumes are allocated from."""

    name: Name = option("Name, unique on the host; of a logical pool, that of the volume group.", spec="POOL-T2.1")
    type: PoolType = option("Kind of pool.", spec="POOL-T1", default="dir")
    path: AbsolutePath | None = option(
        "Directory the volumes are in; where it is mounted, for O(type=netfs). Other types have a fixed one.",
        spec="POOL-T2.6",
        default=None,
    )
    source: PoolSource | None = option(
        "Where the volumes come from; not for O(type=dir).", spec="POOL-T2", default=None
    )
    permissions: Permissions | None = option("Owner and mode of the directory.", spec="POOL-11", default=None)
    active: bool | None = option(
        "Whether the pool is started; when null, it stays as it is.", spec="POOL-08", default=True
    )
    autostart: bool = option("Whether libvirt starts the pool by itself.", spec="POOL-08", default=True)
    xml: str | None = option("Elements of `<pool>` that have no field here.", spec="IAC-06", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_whole("pool", self.xml)
        yield from check_kind(self.type, self.path, self.source)

    @property
    def target(self) -> str:
        """The folder of the volumes' files or device nodes; empty where there is none."""
        fixed = KINDS[self.type].path
        return (
            str(self.path) if fixed is None else fixed.format(pool=self.name, source=self.source and self.source.name)
        )
