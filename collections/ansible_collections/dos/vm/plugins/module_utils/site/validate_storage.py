# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about pools, volumes and images: data is written by one machine, and is where the machine is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..errors import DeclarationError
from ..model.hardware import keeps_local_time
from ..model.types import ByteSize, Name
from .index import Finding, Index, Place
from .pool import Pool
from .sizes import own_disks
from .suited import guest_of, root_image, suited
from .validate_filters import cycles
from .writes import TARGET, Identity, Meeting, export_of


def pools_have_their_own_paths(index: Index) -> Iterator[Finding]:
    """POOL-T2.6: on a host a directory is one pool's; libvirt refuses a second."""
    owners: dict[tuple[str, str], Name] = {}
    for name, pool in index.site.pools.items():
        if pool.path is None:
            continue  # fixed, and the same for all of that type
        hosts = sorted(index.hosts_of(pool) or index.hosts)
        taken = next((host for host in hosts if (pool.path, host) in owners), None)
        if taken is not None:
            other = owners[pool.path, taken]
            text = f"{pool.path} is the directory of pool {other} on host {taken}, write another"
            yield Finding(("dos_pools", name, "path"), text, ("dos_pools", other, "path"))
        for host in hosts:
            owners.setdefault((pool.path, host), name)


def pools_have_their_own_devices(index: Index) -> Iterator[Finding]:
    """POOL-15, POOL-T2.13: a device of a host is one pool's, and so is a target or an export, whatever its server is called."""
    owners: Meeting[Name] = Meeting()
    for name, pool in index.site.pools.items():
        for field, identity in _stood_on(index, pool):
            other = next((other for _, other in owners.met([identity]) if other != name), None)
            owners.add([identity], name)
            if other is not None:
                text = f"{identity if identity.kind == 'LUN' else identity.name} is pool {other}'s already, write another{_or_servers(pool, index.site.pools[other])} (POOL-15)"
                yield Finding(("dos_pools", name, "source", field), text, ("dos_pools", other, "source"))


def _stood_on(index: Index, pool: Pool) -> Iterator[tuple[str, Identity]]:
    """What cannot be two pools' at once: the field that names it, and what it is."""
    source = pool.source
    if source is None:
        return
    hosts = frozenset([str(pool.host)])
    for device in source.devices:
        yield from (("devices", identity) for identity in index.writes.of_device(device, pool.host).identities)
    if source.target:
        yield "target", Identity("target", source.target.casefold(), servers=())
    if source.export:
        yield "export", Identity("export", export_of(source), servers=(str(source.server),))
    if source.name:
        yield "name", Identity(pool.type, source.name, hosts, servers=source.servers or None)


def _or_servers(pool: Pool, other: Pool) -> str:
    """What to write where only the names of two servers make them one, as a part of a sentence."""
    first, second = _servers(pool), _servers(other)
    if not first or not second or not set(first).isdisjoint(second):
        return ""
    return f"; or, if {', '.join(first)} and {', '.join(second)} are not one, write both as IPv4 addresses"


def _servers(pool: Pool) -> tuple[str, ...]:
    """Those that have what a pool is on; a target is one whatever has it."""
    source = pool.source
    if source is None or source.target:
        return ()
    return source.servers or ((source.server,) if source.server else ())


SECRETS = {"iscsi": "iscsi", "rbd": "ceph", "netfs": "netfs"}


def pools_log_in_with_their_kind_of_secret(index: Index) -> Iterator[Finding]:
    """SECO-04, POOL-T2.16: libvirt looks a password up by what it is for."""
    for name, pool in index.site.pools.items():
        secret = index.site.secrets.get(pool.source.secret) if pool.source and pool.source.secret else None
        wanted = SECRETS.get(pool.type)
        if secret is not None and wanted and secret.usage_type != wanted:
            text = f"secret {pool.source and pool.source.secret} is for {secret.usage_type}, write one with usage_type: {wanted} (SECO-04)"
            place = ("dos_secrets", str(pool.source and pool.source.secret), "usage_type")
            yield Finding(("dos_pools", name, "source", "secret"), text, place)


def block_volumes_are_raw(index: Index) -> Iterator[Finding]:
    """POOL-T1: a volume of these kinds is a device, with no format and nothing to be layered over."""
    for name, volume in index.site.volumes.items():
        if _is_block(index, volume.pool) and volume.format != "raw":
            text = f"is a device in pool {volume.pool}, write raw"
            yield Finding(("dos_volumes", name, "format"), text, ("dos_pools", volume.pool, "type"))
    for at, _, instance, number in index.each_disk():
        disk = instance.disks[number]
        if disk.pool and _is_block(index, disk.pool) and disk.format != "raw":
            text = f"the machine's own volume is a device in pool {disk.pool}, write raw"
            yield Finding((*at, "format"), text, ("dos_pools", disk.pool, "type"))


def luns_are_of_targets(index: Index) -> Iterator[Finding]:
    """POOL-13: the volumes of an iscsi pool are the LUNs of its target, and no other pool has any."""
    for own, volume in index.site.volumes.items():
        pool = index.site.pools.get(volume.pool)
        if pool is not None and (pool.type == "iscsi") != (volume.lun is not None):
            text = "is required: which LUN of the target it is" if volume.lun is None else "is for pools of type iscsi"
            yield Finding(("dos_volumes", own, "lun"), text, ("dos_pools", volume.pool, "type"))
    for at, _, instance, number in index.each_disk():
        name = instance.disks[number].pool
        held = index.site.pools.get(name) if name else None
        if name and held is not None and held.type == "iscsi":
            text = "volumes cannot be made on a target: declare a LUN in dos_volumes, and write it as volume (POOL-13)"
            yield Finding((*at, "pool"), text, ("dos_pools", name, "type"))


def block_volumes_have_no_startup_policy(index: Index) -> Iterator[Finding]:
    """POOL-17: what becomes of a machine whose disk is missing can only be chosen for files."""
    for at, _, instance, number in index.each_disk():
        disk = instance.disks[number]
        volume = index.site.volumes.get(disk.volume) if disk.volume else None
        pool = volume.pool if volume is not None else disk.pool
        if disk.startup_policy and pool and _is_block(index, pool):
            text = f"is for files, and the volumes of pool {pool} are devices: leave it out (POOL-17)"
            yield Finding((*at, "startup_policy"), text, ("dos_pools", pool, "type"))


def _is_block(index: Index, name: str) -> bool:
    pool = index.site.pools.get(Name(name))
    return pool is not None and pool.is_block


def bases_do_not_circle(index: Index) -> Iterator[Finding]:
    """VSNP-01: no volume is layered over itself."""
    for cycle in cycles({name: (held.base,) for name, held in index.site.volumes.items() if held.base}):
        text = f"the volumes are layered over each other in a circle: {' → '.join(cycle)}; one needs a base of its own"
        yield Finding(("dos_volumes", cycle[0], "base"), text)


def bases_are_beside(index: Index) -> Iterator[Finding]:
    """VSNP-01: a volume is in the pool and on the host of what it is layered over."""
    for name, volume in index.site.volumes.items():
        base = index.site.volumes.get(volume.base) if volume.base else None
        if base is None:
            continue
        for field in ("pool", "host"):
            mine, others = getattr(volume, field), getattr(base, field)
            if mine != others:
                text = f"{volume.base} is {_in(field, others)} and {name} is {_in(field, mine)}, write the same {field} for both"
                yield Finding(("dos_volumes", name, "base"), text, ("dos_volumes", str(volume.base)))


def _in(field: str, name: str | None) -> str:
    words = {"pool": "in pool", "host": "on host"}
    return f"{words[field]} {name}" if name else "not bound to a host"


def volumes_have_a_host(index: Index) -> Iterator[Finding]:
    """POOL-02: a volume is on a host of its pool, and it is known which."""
    users: defaultdict[str, int] = defaultdict(int)
    for machine in index.machines:
        for disk in machine.instance.disks:
            if disk.volume:
                users[disk.volume] += 1
    for name, volume in index.site.volumes.items():
        pool = index.site.pools.get(volume.pool)
        text = pool and _homeless(index, volume.host, volume.pool, pool, users[name])
        if text:
            yield Finding(("dos_volumes", name, "host"), text, ("dos_pools", volume.pool))


def _homeless(index: Index, host: Name | None, pool_name: Name, pool: Pool, users: int) -> str | None:
    bound = index.hosts_of(pool)
    hosts = index.hosts if bound is None else bound
    if host is not None and bound is not None and host not in bound:
        return f"pool {pool_name} is not on {host}, write one of: {', '.join(sorted(bound))} (POOL-02)"
    if host is None and not pool.is_shared and len(hosts) > 1 and users != 1 and (users or index.is_whole("instances")):
        who = "no machine uses" if not users else f"{users} machines use"
        return f"pool {pool_name} has a directory on each of {len(hosts)} hosts and {who} the volume: write its host (POOL-02)"
    return None


def own_volumes_have_their_own_names(index: Index) -> Iterator[Finding]:
    """VOL-T1.2: a declared volume does not have the name of one that is made for a machine."""
    own = {(machine.name, disk.pool) for machine in index.machines for disk in machine.instance.disks if disk.pool}
    for name, volume in index.site.volumes.items():
        owner, _, target = name.rpartition("-")
        if (owner, volume.pool) in own and TARGET.fullmatch(target):
            text = f"{name} is the name of machine {owner}'s own volume in pool {volume.pool}, write another"
            yield Finding(("dos_volumes", name), text)


def encryption_is_by_a_volume_secret(index: Index) -> Iterator[Finding]:
    """SECO-04: what unlocks a volume is a secret of that usage type, which libvirt looks up by it."""
    for at, name in _encrypted(index):
        secret = index.site.secrets.get(name)
        if secret is not None and secret.usage_type != "volume":
            text = f"secret {name} is for {secret.usage_type}, write one with usage_type: volume (SECO-04)"
            yield Finding(at, text, ("dos_secrets", name, "usage_type"))


def _encrypted(index: Index) -> Iterator[tuple[Place, Name]]:
    for name, volume in index.site.volumes.items():
        if volume.encryption:
            yield ("dos_volumes", name, "encryption"), volume.encryption
    for at, _, instance, number in index.each_disk():
        if secret := instance.disks[number].encryption:
            yield (*at, "encryption"), secret


def pools_hold_their_volumes(index: Index) -> Iterator[Finding]:
    """POOL-07, VOL-03: volumes together stay below the pool's logical capacity, where it is known which host they are on."""
    used: defaultdict[tuple[str, str], int] = defaultdict(int)
    told: set[tuple[str, str]] = set()
    for at, pool_name, host, size in _sized(index):
        pool = index.site.pools.get(pool_name)
        for where, limit, words in _limits(index, pool, host) if pool is not None and pool.capacity else ():
            key = (pool_name, where)
            if used[key] + size > limit and key not in told:
                told.add(key)
                text = f"pool {pool_name} has a capacity of {words}: {ByteSize(used[key])} used, {ByteSize(size)} requested (POOL-07)"
                yield Finding(at, text, ("dos_pools", pool_name, "capacity"))
            used[key] += size


def _limits(index: Index, pool: Pool, host: Name | None) -> Iterator[tuple[str, int, str]]:
    """What a volume counts for: a host, or all of them, the bytes that fit there, and these in words."""
    capacity, hosts = pool.capacity or ByteSize(0), index.hosts_of(pool)
    hosts = index.hosts if hosts is None else hosts
    if pool.is_shared or len(hosts) < 2:
        yield "", capacity, str(capacity)
        return
    if host is not None:
        yield host, capacity, f"{capacity} on {host}"
    yield "", capacity * len(hosts), f"{capacity} on each of {len(hosts)} hosts"


def _sized(index: Index) -> Iterator[tuple[Place, Name, Name | None, int]]:
    """Every volume there will be: where it is declared, its pool, its host if that is known, its capacity."""
    for name, volume in index.site.volumes.items():
        yield ("dos_volumes", name, "capacity"), volume.pool, volume.host, index.sizes.of_volume(name) or 0
    for machine in index.machines:
        for number, disk in own_disks(machine.instance):
            place = ("dos_instances", machine.instance_name, "disks", number, "capacity")
            size = index.sizes.of_own(disk) or 0
            yield place, Name(str(disk.pool)), machine.vm.host or machine.instance.host, size


def images_have_what_they_need(index: Index) -> Iterator[Finding]:
    """IMG-13, CONV-12: a machine has the memory, and its disk the capacity, that the image asks for."""
    for at, _, instance, number in index.each_disk():
        disk = instance.disks[number]
        image = index.site.images.get(disk.image) if disk.image else None
        if image is None:
            continue
        if image.min_memory and instance.memory < image.min_memory:
            text = f"{instance.memory} is less than the {image.min_memory} that image {disk.image} needs"
            yield Finding((*at[:2], "memory"), text, ("dos_images", str(disk.image), "min_memory"))
        if image.min_disk and disk.capacity and disk.capacity < image.min_disk:
            text = f"{disk.capacity} is less than the {image.min_disk} that image {disk.image} needs (CONV-12)"
            yield Finding((*at, "capacity"), text, ("dos_images", str(disk.image), "min_disk"))
    for name, volume in index.site.volumes.items():
        image = index.site.images.get(volume.image) if volume.image else None
        if image and image.min_disk and volume.capacity and volume.capacity < image.min_disk:
            text = f"{volume.capacity} is less than the {image.min_disk} that image {volume.image} needs (CONV-12)"
            yield Finding(("dos_volumes", name, "capacity"), text, ("dos_images", str(volume.image), "min_disk"))


def windows_reads_local_time(index: Index) -> Iterator[Finding]:
    """CONV-09, DOMX-05: Windows takes the hardware's clock for local time."""
    for at, _, instance, number in index.each_disk():
        name = instance.disks[number].image
        image = index.site.images.get(name) if name else None
        if image is None or image.os_type != "windows":
            continue
        root = root_image(index.site, instance)
        if not keeps_local_time(instance.clock, guest_of(instance, root[1] if root else None)):
            text = f"image {name} is a Windows, which takes the clock for local time: write clock: localtime (CONV-09)"
            yield Finding((*at[:2], "clock"), text, ("dos_images", str(name), "os_type"))


def images_suit_their_machines(index: Index) -> Iterator[Finding]:
    """DOMX-01, IMG-13: what an image or the site says where an instance is silent goes together with what it does say."""
    for name, instance in index.site.instances.items():
        at = ("dos_instances", name)
        found = root_image(index.site, instance)
        by_image = found is not None and found[1].properties is not None
        other: Place = (
            ("dos_images", str(found[0]), "properties") if found and by_image else ("dos_system", "properties")
        )
        try:
            made = suited(index.site, instance)
        except DeclarationError as refused:
            yield from (Finding((*at, problem.path), problem.text, other) for problem in refused.problems)
            continue
        if "q35" in made.machine and any(disk.bus == "ide" for disk in made.disks) and made.disks != instance.disks:
            text = f"{made.machine} has no ide, where disks would be: write machine: pc, or the bus of each disk"
            yield Finding((*at, "machine"), text, other)


def images_fit_the_architecture(index: Index) -> Iterator[Finding]:
    """INST-13, IMG-T1.3: a machine is not given another architecture's image."""
    for at, _, instance, number in index.each_disk():
        disk = instance.disks[number]
        image = index.site.images.get(disk.image) if disk.image else None
        if image is None or image.arch in ("any", instance.arch) or (image.arch, instance.arch) == ("i686", "x86_64"):
            continue
        text = f"{disk.image} is for {image.arch} and the instance is {instance.arch}, write another image or arch"
        yield Finding((*at, "image"), text, ("dos_images", str(disk.image), "arch"))
