# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk writes to: the thing itself, whatever names it has. Pure.

A name is an image, a volume of a pool, or a source in a fragment of XML. A thing is a path of a host, a path that hosts share, a
path of a server, a LUN of a target, or an image of a Ceph pool. Links, mounts and device numbers are known to hosts alone, so
each host checks them again before a start.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from ..errors import DeclarationError
from ..model.pool import KINDS, PoolSource
from ..model.types import Name, canonical
from .bound import Bound
from .device_sources import Source, disk_sources
from .instance import Instance, InstanceDisk
from .pool import Pool
from .site import Site
from .suited import suited

T = TypeVar("T")
Hosts = frozenset[str] | None  # None: all of them
Field = tuple[str | int, ...]  # of an instance, down to what names the thing

TARGET = re.compile(r"(?:[vsh]d|xvd)[a-z]{1,2}")
BY_PATH = re.compile(r"/dev/disk/by-path/.*-iscsi-(?P<target>.+)-lun-(?P<lun>\d+)")
MAPPED = re.compile(r"/dev/mapper/(?P<group>(?:[^-]|--)+)-(?P<volume>(?:[^-]|--)+)")


class Identity(NamedTuple):
    """One thing, by what it is called where it is.

    `hosts` may reach it; `shared` is whether it is one for two of them at least, and not a thing of each host's own. `servers`
    have it, where hosts do not; they are empty for a name that is one in the world.
    """

    kind: str
    name: str
    hosts: Hosts = None
    shared: bool = False
    servers: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.name

    def meets(self, other: Identity) -> bool:
        """Whether both may be one thing."""
        if self.key != other.key:
            return False
        if self.servers is None or other.servers is None:
            return self.hosts is None or other.hosts is None or not self.hosts.isdisjoint(other.hosts)
        return may_be_one(self.servers, other.servers)


class Use(NamedTuple):
    """A disk on a thing: the field that names the thing, the name in words, and the format that it is read as."""

    field: Field
    words: str
    identities: tuple[Identity, ...]
    format: str = ""
    shareable: bool = False
    target: str = ""

    def may_replace(self, other: Use) -> bool:
        """Whether this and another disk of the VM may be one disk: a fragment lays its disk over that of the same target."""
        in_fragment = "xml" in (self.field[0], other.field[0])
        return in_fragment and (not self.target or not other.target or self.target == other.target)


class Writes:
    """What the disks of a site are on."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._hosts = frozenset(map(str, site.hosts))
        self._reach: dict[int, tuple[Instance, Hosts]] = {}  # by id, which is an instance's for as long as it is kept
        self._shared: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
        self._mounts: defaultdict[str, list[Pool]] = defaultdict(list)
        for pool in site.pools.values():
            if pool.type == "netfs" and pool.path:
                self._mounts[pool.path].append(pool)
            elif pool.shared and pool.path:
                self._shared[pool.path].append(self._named(pool))
        for image in site.images.values():
            if image.shared:
                self._shared[image.file].append(self._named(image))

    def only_own(self, instance: Instance) -> bool:
        """Whether every disk that its VMs write to is their host's own, which no other host reaches."""
        return next(self.reached(instance), None) is None

    def reached(self, instance: Instance) -> Iterator[tuple[Field, str, list[str]]]:
        """The disks that its VMs write to and several hosts reach: the field, the name in words, and these hosts."""
        for use in (*self.written(instance, None), *self._own(instance)):
            hosts = {host for identity in use.identities if identity.shared for host in identity.hosts or self._hosts}
            if hosts:
                yield use.field, use.words, sorted(hosts)

    # What a disk is on

    def written(self, instance: Instance, hosts: Hosts) -> Iterator[Use]:
        """What a VM that runs on one of `hosts` writes to, but for the volumes that are made for it alone."""
        for number, disk in enumerate(instance.disks):
            if disk.writable and not disk.pool:
                yield from self._of_disk(number, disk, hosts)
        for number, fragment in enumerate(instance.xml):
            for source in disk_sources(fragment):
                if source.writable:
                    yield Use(
                        field=("xml", number),
                        words=str(source),
                        identities=tuple(self.of_source(source, hosts)),
                        format=source.format,
                        shareable=source.shareable,
                        target=source.target,
                    )

    def _of_disk(self, number: int, disk: InstanceDisk, hosts: Hosts) -> Iterator[Use]:
        volume = self.site.volumes.get(disk.volume) if disk.volume else None
        if disk.volume and volume is not None:
            used = self.of_volume(disk.volume, hosts)
            field, target = ("disks", number, "volume"), disk.target or ""
            yield used._replace(field=field, shareable=volume.shareable, target=target)
        image = self.site.images.get(disk.image) if disk.image else None
        if disk.image and image is not None and not image.read_only:
            field, target = ("disks", number, "image"), disk.target or ""
            yield self.of_image(disk.image, hosts)._replace(field=field, target=target)

    def of_source(self, source: Source, hosts: Hosts) -> Iterator[Identity]:
        if source.pool:
            yield from self._in_pool(source.pool, source.name, source.lun, hosts)
        elif source.protocol:
            yield _on_network(source)
        elif source.name.startswith("/"):
            yield from self.of_path(source.name, hosts)

    def _own(self, instance: Instance) -> Iterator[Use]:
        """The places of the volumes that are made for each VM alone."""
        for number, disk in enumerate(instance.disks):
            if disk.pool and disk.writable:
                identities = tuple(self._in_pool(disk.pool, "NAME", None, None))
                yield Use(("disks", number, "pool"), f"pool {disk.pool}", identities)

    def layers(self, instance: Instance, hosts: Hosts) -> Iterator[Use]:
        """What disks of an instance are layered over: images, of each VM's own volume or of a temporary overlay."""
        for number, disk in enumerate(instance.disks):
            image = self.site.images.get(disk.image) if disk.image else None
            if disk.image and image is not None and disk.writable and (disk.pool or image.read_only):
                yield self.of_image(disk.image, hosts)._replace(field=("disks", number, "image"))

    # What a name stands for

    def of_image(self, name: Name, hosts: Hosts = None) -> Use:
        """A declared image, as far as `hosts` have it."""
        image = self.site.images[name]
        found = self.of_path(image.file, common([hosts, self._bound(image)]))
        return Use((), f"image {name}", tuple(found), image.format)

    def of_volume(self, name: Name, hosts: Hosts = None) -> Use:
        """A declared volume, as far as `hosts` have it."""
        volume = self.site.volumes[name]
        where = common([hosts, frozenset([str(volume.host)]) if volume.host else None])
        found = self._in_pool(volume.pool, name, volume.lun, where)
        return Use((), f"volume {name}", tuple(found), volume.format)

    def of_device(self, path: str, host: Name | None) -> Use:
        """A device of a host."""
        return Use((), f"device {path}", tuple(self.of_path(path, frozenset([str(host)]) if host else None)))

    def own_volume(self, identity: Identity, vm: str, instance: Instance, hosts: Hosts) -> Use | None:
        """The disk of a VM whose own volume, `VM-TARGET` in a pool, is this thing."""
        for number, (target, disk) in enumerate(self._targets(instance)):
            name = f"{vm}-{target}"
            if disk.pool and not disk.volume and identity.name.endswith(f"/{name}"):
                found = tuple(self._in_pool(disk.pool, name, None, hosts))
                if any(map(identity.meets, found)):
                    return Use(("disks", number, "pool"), f"{vm}'s own volume", found, disk.format or "qcow2")
        return None

    def _targets(self, instance: Instance) -> list[tuple[str, InstanceDisk]]:
        with suppress(DeclarationError):  # another rule says what does not go together
            return suited(self.site, instance).targets()
        return instance.targets()

    def _in_pool(self, name: str, volume: str, lun: int | None, hosts: Hosts) -> Iterator[Identity]:
        pool = self.site.pools.get(name)  # type: ignore[call-overload]  # a Name is a str
        if pool is None:  # not declared, or not to be read
            yield Identity("volume", f"{name}/{volume}", hosts)
            return
        source, where = pool.source or PoolSource(), common([hosts, self._bound(pool)])
        if pool.type == "iscsi":
            if source.target and lun is not None:
                yield _lun(source.target, lun, self._named(pool))
        elif pool.type == "rbd":
            yield Identity("rbd image", f"{source.name}/{volume}", where, _several(self._named(pool)), source.servers)
        else:
            fixed = KINDS[pool.type].path
            folder = pool.path if fixed is None else fixed.format(pool=name, source=source.name)
            yield from self.of_path(f"{folder}/{volume}", where)

    def of_path(self, path: str, hosts: Hosts) -> Iterator[Identity]:
        """What is at a path of `hosts`: on a server where a pool mounts one above it, shared, or each host's own."""
        path = _device(canonical(path))
        if found := BY_PATH.fullmatch(path):
            yield _lun(found["target"], int(found["lun"]), hosts)
            return
        for folder in _above(path) if self._mounts else ():
            for pool in self._mounts.get(folder, ()):
                where = self._hosts if hosts is None else hosts
                if here := where & self._named(pool):
                    yield _exported(pool.source or PoolSource(), path.removeprefix(folder), self._named(pool))
                    hosts = where - here
        if hosts is None or hosts:
            yield self._on_hosts(path, hosts)

    def _on_hosts(self, path: str, hosts: Hosts) -> Identity:
        """A path, with all hosts that one of `hosts` shares it with."""
        sharing = [group for folder in _above(path) for group in self._shared.get(folder, ())]
        group = frozenset[str]().union(*sharing)
        where = self._hosts if hosts is None else hosts
        if where.isdisjoint(group):
            return Identity("file", path, hosts)
        return Identity("file", path, where | group, len(group) > 1)

    # Where

    def reach(self, instance: Instance, host: Name | None = None) -> Hosts:
        """The hosts that a VM of the instance may run on; `host` is the VM's own."""
        if host is not None:
            return frozenset([str(host)])
        if id(instance) not in self._reach:
            self._reach[id(instance)] = instance, common(self._bindings(instance))
        return self._reach[id(instance)][1]

    def _bindings(self, instance: Instance) -> Iterator[Hosts]:
        site = self.site
        yield self._bound(instance)
        if instance.host_group and instance.host_group in site.host_groups:
            yield frozenset(map(str, site.members(instance.host_group)))
        for disk in instance.disks:
            volume = site.volumes.get(disk.volume) if disk.volume else None
            pool = volume.pool if volume else disk.pool
            yield self._bound(site.pools.get(pool) if pool else None)
            yield self._bound(site.images.get(disk.image) if disk.image else None)
            yield frozenset([str(volume.host)]) if volume is not None and volume.host else None
        for card in instance.interfaces:
            yield self._bound(site.networks.get(card.network))

    def _bound(self, bound: Bound | None) -> Hosts:
        found = None if bound is None else self.site.hosts_of(bound)
        return None if found is None else frozenset(map(str, found))

    def _named(self, bound: Bound) -> frozenset[str]:
        """The hosts of an object by name, also where it is on all."""
        found = self._bound(bound)
        return self._hosts if found is None else found


def owner_of(path: str) -> str:
    """The VM that a volume is made for, by the name of its file; empty for a file of another name."""
    vm, _, target = path.rpartition("/")[2].rpartition("-")
    return vm if TARGET.fullmatch(target) else ""


class Meeting(Generic[T]):
    """What is on which thing, as it comes, and what of it is on the same thing as something else."""

    def __init__(self) -> None:
        self._seen: defaultdict[tuple[str, str], list[tuple[Identity, T]]] = defaultdict(list)

    def add(self, identities: Iterable[Identity], what: T) -> None:
        for identity in identities:
            self._seen[identity.key].append((identity, what))

    def met(self, identities: Iterable[Identity]) -> Iterator[tuple[Identity, T]]:
        """What was added of any of these things, in order, with the thing."""
        for identity in identities:
            for earlier, what in self._seen.get(identity.key, ()):
                if identity.meets(earlier):
                    yield identity, what


def common(bindings: Iterable[Hosts]) -> Hosts:
    """The hosts that all of these leave."""
    named = [hosts for hosts in bindings if hosts is not None]
    return frozenset.intersection(*named) if named else None


def may_be_one(servers: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a server of the one may be a server of the other: nothing tells a host name from an address of that host."""
    first, second = [_server(server) for server in servers], [_server(server) for server in others]
    if not first or not second:
        return True
    return any(_alike(kind, name, *other) for kind, name in first for other in second)


def _alike(kind: int, name: str, other_kind: int, other: str) -> bool:
    if kind != other_kind:
        return True
    short = kind == 0 and ("." not in name or "." not in other)
    return name == other or (short and name.partition(".")[0] == other.partition(".")[0])


def _server(text: str) -> tuple[int, str]:
    """Whether a server is written as a name (0) or by which kind of address, and its spelling."""
    plain = text.strip().strip("[]").casefold().rstrip(".")
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return 0, plain
    return address.version, str(address)


def export_of(source: PoolSource) -> str:
    """What a server calls the directory that a pool mounts, in one spelling."""
    name = canonical(f"/{source.export or ''}").lstrip("/")
    return name.casefold() if source.format == "cifs" else name


def _exported(source: PoolSource, rest: str, hosts: frozenset[str]) -> Identity:
    servers = (source.server,) if source.server else ()
    return Identity("exported file", canonical(f"/{export_of(source)}{rest}"), hosts, _several(hosts), servers)


def _lun(target: str, lun: int, hosts: Hosts) -> Identity:
    return Identity("LUN", f"{lun} of {target.casefold()}", hosts, hosts is None or _several(hosts), ())


def _on_network(source: Source) -> Identity:
    if source.protocol == "iscsi":
        target, _, lun = source.name.partition("/")
        return _lun(target, int(lun) if lun.isdigit() else 0, None)
    words = {"rbd": "rbd image", "nfs": "exported file", "gluster": "exported file"}
    name = canonical(f"/{source.name}") if source.protocol in ("nfs", "gluster") else source.name
    return Identity(words.get(source.protocol, f"{source.protocol} disk"), name, None, True, source.servers)


def _device(path: str) -> str:
    """A path; for a logical volume the one of its paths that has the group as a directory."""
    found = MAPPED.fullmatch(path)
    return f"/dev/{found['group'].replace('--', '-')}/{found['volume'].replace('--', '-')}" if found else path


def _above(path: str) -> Iterator[str]:
    """The path, and every directory above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield "/"


def _several(hosts: Hosts) -> bool:
    return hosts is None or len(hosts) > 1
