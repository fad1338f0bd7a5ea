# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether block devices may become what a pool stands on (POOL-15, POOL-16): never what the host or a guest uses, and what
holds data only when the pool is named in `data_loss`."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.address import Address
from ..model.pool import Pool
from .action import Build
from .loss import may_go
from .plan import Context

#: Pools of which libvirt makes what they stand on. A Ceph pool, an iSCSI target and a ZFS dataset are made by others.
BUILT = ("dir", "netfs", "disk", "logical")


@dataclass(frozen=True, slots=True)
class Device:
    """A block device of the host as it is now; see `hypervisor/devices.py` for who looks.

    `holds` are the kinds of data found on it, in words, none when it is blank; `used` says who uses it, `group` which volume
    group it belongs to, `table` which partition table it has.
    """

    path: str
    found: bool = True
    holds: tuple[str, ...] = ()
    used: str = ""
    group: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What a pool that does not run needs before it can start: a `build`, which may be withheld, or it cannot be."""

    build: Build | None = None
    withheld: bool = False
    problem: str = ""


def foundation(pool: Pool, address: Address, context: Context) -> Foundation:
    """Pure: what is to be made below a pool that does not run."""
    if pool.type not in BUILT:
        return Foundation()
    if pool.type not in STANDS or pool.source is None:
        return Foundation(build=Build(address=address))  # a directory, which is made when it is not there
    devices = [context.devices.get(path, Device(path, found=False)) for path in pool.source.devices]
    problems = [problem for device in devices if (problem := _problem(pool, device, context))]
    standing = [device for device in devices if STANDS[pool.type](pool, device)]
    if standing and len(standing) < len(devices):
        others = ", ".join(device.path for device in devices if device not in standing)
        problems.append(f"{others} is not in the volume group {pool.name}: add it with vgextend, or leave it out")
    if problems:
        return Foundation(problem="\n".join(f"{address}: {problem}" for problem in problems))
    if standing:
        return Foundation()
    held = tuple(device.path for device in devices if device.holds)
    allowed = may_go(address, context)
    return Foundation(build=Build(address=address, clear=held), withheld=bool(held) and not allowed)


def _problem(pool: Pool, device: Device, context: Context) -> str:
    if not device.found:
        return f"there is no block device {device.path} on this host"
    if device.used and not (pool.type == "logical" and device.group == pool.name):
        return f"{device.path} is in use, and is never taken: {device.used} (POOL-15)"
    guest = _guest_of(device.path, context)
    return f"{device.path} is a disk of {guest}, and is never taken" if guest else ""


def _guest_of(path: str, context: Context) -> Address | None:
    for address, held in context.observed.items():
        if address.kind == "domain" and held.xml.find(f"devices/disk/source[@dev='{path}']") is not None:
            return address
    return None


def described(devices: tuple[str, ...], context: Context) -> str:
    """What is on each, for a reader who is to say whether it may go."""
    return ", ".join(f"{path} ({', '.join(context.devices[path].holds)})" for path in devices)


def _in_the_group(pool: Pool, device: Device) -> bool:
    return device.group == pool.name


def _has_the_table(pool: Pool, device: Device) -> bool:
    return pool.source is not None and device.table == (pool.source.format or "gpt")


STANDS = {"logical": _in_the_group, "disk": _has_the_table}
