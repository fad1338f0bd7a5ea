# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts will do: one row each in a table, a question and the sentence that answers it with its numbers.

A row says what its answer hangs on, since that decides how often it is asked (SCHED-04): on the `instance` alone, and the
answer holds for all machines of equal instances; on the `machine`; or on the `load`, which every placement changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from .request import Near, Request, Tie
from .room import HOST, SITE, Room
from .words import listed, size

Accept = Callable[[Request, Room], bool]
Tell = Callable[[Request, Room], str]


class Filter(NamedTuple):
    """A question to a host. `moves`: a machine that runs where the answer is no has to leave."""

    name: str
    accept: Accept
    tell: Tell
    hangs_on: Literal["instance", "machine", "load"] = "load"
    moves: bool = False


# ------------------------------------------------------------------------------------------------- the host itself


def answers(request: Request, room: Room) -> bool:
    """HOST-11: a host that does not answer is dead, or as good as."""
    return room.answers


def tell_answers(request: Request, room: Room) -> str:
    return "answers" if room.answers else "does not answer" if room.asked else "was not asked"


def active(request: Request, room: Room) -> bool:
    """SCHED-05: the operator lets machines come."""
    return room.active


def tell_active(request: Request, room: Room) -> str:
    return "takes machines" if room.active else "takes no more machines (active: false)"


def maintenance(request: Request, room: Room) -> bool:
    """A host that is being emptied takes nothing and keeps nothing."""
    return not room.maintenance


def tell_maintenance(request: Request, room: Room) -> str:
    return "is in maintenance" if room.maintenance else "is in service"


def retry(request: Request, room: Room) -> bool:
    """SCHED-10: not where starting it failed in this run."""
    return room.host not in request.failed


def tell_retry(request: Request, room: Room) -> str:
    if room.host not in request.failed:
        return "has not failed to start it"
    why = request.setbacks.get(room.host)
    return f"could not start it in this run{f': {why}' if why else ''}"


# ------------------------------------------------------------------------------------------------- who may be where


def bound(request: Request, room: Room) -> bool:
    """SCHED-01: the hosts that are declared for it."""
    return request.bound is None or room.host in request.bound


def tell_bound(request: Request, room: Room) -> str:
    if request.bound is None:
        return "it is bound to no host"
    return f"it is bound to {listed(request.bound)}"


def host_group(request: Request, room: Room) -> bool:
    """SCHED-01, CUST-T1.2: the host group of its instance."""
    return request.where.group is None or room.host in request.where.group.hosts


def tell_host_group(request: Request, room: Room) -> str:
    group = request.where.group
    if group is None:
        return "any host group will do"
    return f"is {'' if room.host in group.hosts else 'not '}in {group.what}"


def architecture(request: Request, room: Room) -> bool:
    """INST-13: the host has an emulator for the machine's architecture, and KVM where it must be that."""
    return request.where.arch in room.archs and (room.kvm or not request.where.kvm)


def tell_architecture(request: Request, room: Room) -> str:
    if request.where.arch not in room.archs:
        return f"has no emulator for {request.where.arch}, only for {listed(room.archs)}"
    return "has no KVM" if request.where.kvm and not room.kvm else f"runs {request.where.arch}"


def board(request: Request, room: Room) -> bool:
    """INST-13: its QEMU has the machine type."""
    where = request.where
    return not where.board or room.boards is None or where.arch != room.arch or where.board in room.boards


def tell_board(request: Request, room: Room) -> str:
    if room.boards is None or not request.where.board or request.where.arch != room.arch:
        return "any board will do"
    return f"has {'' if request.where.board in room.boards else 'no '}board {request.where.board}"


def cpu(request: Request, room: Room) -> bool:
    """DEP-02, MIG-07: it can be the processor that is declared."""
    return not request.where.cpu or room.cpu_models is None or request.where.cpu in room.cpu_models


def tell_cpu(request: Request, room: Room) -> str:
    if room.cpu_models is None or not request.where.cpu:
        return "any processor will do"
    return f"can {'' if request.where.cpu in room.cpu_models else 'not '}be a {request.where.cpu}"


def storage(request: Request, room: Room) -> bool:
    """POOL-02: pools, volumes and images are there."""
    return all(room.host in tie.hosts for tie in request.where.storage)


def tell_storage(request: Request, room: Room) -> str:
    return _reach(request.where.storage, room.host, "storage")


def network(request: Request, room: Room) -> bool:
    """NET-05: its networks are there."""
    return all(room.host in tie.hosts for tie in request.where.network)


def tell_network(request: Request, room: Room) -> str:
    return _reach(request.where.network, room.host, "networks")


def _reach(ties: Iterable[Tie], host: str, what: str) -> str:
    missing = [tie.what for tie in ties if host not in tie.hosts]
    return f"does not have {', '.join(missing)}" if missing else f"has its {what}"


def data(request: Request, room: Room) -> bool:
    """MIG-06: what its own disks hold stays on the host that has them."""
    return request.data is None or room.host in request.data


def tell_data(request: Request, room: Room) -> str:
    if request.data is None:
        return "its disks are not bound to a host"
    return (
        "has its disks"
        if room.host in request.data
        else f"does not have its disks, which are on {listed(request.data)}"
    )


def properties(request: Request, room: Room) -> bool:
    """SCHED-05: labels that its instance or its images require."""
    return all(room.labels.get(name) == value for name, value in request.where.requires)


def tell_properties(request: Request, room: Room) -> str:
    if not request.where.requires:
        return "no labels are required"
    missing = [f"{name}: {value}" for name, value in request.where.requires if room.labels.get(name) != value]
    return f"lacks the label {', '.join(missing)}" if missing else "has the labels"


# ------------------------------------------------------------------------------------------------- what is left


def memory(request: Request, room: Room) -> bool:
    """VM-18, DEP-11: it fits beside the others and the reserve."""
    needs = request.needs
    return not request.on or bool(needs.hugepages) or needs.memory <= room.memory - room.used_memory


def tell_memory(request: Request, room: Room) -> str:
    needed = 0 if not request.on or request.needs.hugepages else request.needs.memory
    return f"has {size(max(0, room.free_memory))} of memory left of {size(room.memory)}, {size(needed)} needed"


def vcpus(request: Request, room: Room) -> bool:
    """HOST-T1.7: the host's limit of virtual CPUs, where it has one."""
    return not request.on or room.vcpus is None or room.used_vcpus + request.needs.vcpus <= room.vcpus


def tell_vcpus(request: Request, room: Room) -> str:
    needed = request.needs.vcpus if request.on else 0
    if room.vcpus is None:
        return f"has no limit of vCPUs, {room.used_vcpus} taken, {needed} needed"
    return f"has {max(0, room.vcpus - room.used_vcpus)} vCPUs left of {room.vcpus}, {needed} needed"


def disk(request: Request, room: Room) -> bool:
    """POOL-T2.3: its own volumes fit into the host's own pools, as far as their size is known."""
    for pool, needed in request.needs.disk:
        limit = room.disk.get(pool)
        if limit is not None and room.used_disk[pool] + needed > limit:
            return False
    return True


def tell_disk(request: Request, room: Room) -> str:
    known = [(pool, needed) for pool, needed in request.needs.disk if pool in room.disk]
    told = (
        f"pool {pool} has {size(max(0, room.disk[pool] - room.used_disk[pool]))} left of {size(room.disk[pool])}, {size(needed)} needed"
        for pool, needed in known
    )
    return "; ".join(told) or "no pool of its own has a limit"


def numa(request: Request, room: Room) -> bool:
    """It fits into one NUMA node."""
    return not (request.on and request.needs.numa) or room.cell_for(request.needs) is not None


def tell_numa(request: Request, room: Room) -> str:
    if not request.needs.numa:
        return "need not fit into one NUMA node"
    left = max((cell.memory - cell.used_memory for cell in room.cells), default=0)
    fits = "fits" if numa(request, room) else "does not fit"
    return f"{fits} into one of {len(room.cells)} NUMA nodes, the emptiest has {size(left)} left"


def hugepages(request: Request, room: Room) -> bool:
    """There are huge pages of its size for its memory."""
    page = request.needs.hugepages
    if not (request.on and page):
        return True
    return room.used_hugepages[page] + request.needs.memory <= room.hugepages.get(page, 0)


def tell_hugepages(request: Request, room: Room) -> str:
    page = request.needs.hugepages
    if not page:
        return "needs no huge pages"
    left = room.hugepages.get(page, 0) - room.used_hugepages[page]
    return f"has {size(max(0, left))} in huge pages of {size(page)} left, {size(request.needs.memory)} needed"


def devices(request: Request, room: Room) -> bool:
    """Its PCI devices are there and nobody has them."""
    if not request.on:
        return True
    return all(room.used_devices[name] + number <= room.devices.get(name, 0) for name, number in request.needs.devices)


def tell_devices(request: Request, room: Room) -> str:
    told = (
        f"has {max(0, room.devices.get(name, 0) - room.used_devices[name])} free devices {name}, {number} needed"
        for name, number in request.needs.devices
    )
    return "; ".join(told) or "needs no devices"


# ------------------------------------------------------------------------------------------------- who is around


def affinity(request: Request, room: Room) -> bool:
    """SCHED-09: those it must be near to are there, or nowhere yet."""
    return all(_is_near(near, room) for near in request.needs.near)


def _is_near(near: Near, room: Room) -> bool:
    zone = room.zones.get(near.by)
    if zone is None:
        return False
    return zone.tags[near.tag] > 0 or room.zones[SITE].tags[near.tag] == 0


def tell_affinity(request: Request, room: Room) -> str:
    missed = [near for near in request.needs.near if not _is_near(near, room)]
    if not missed:
        return "is near to whom it must be" if request.needs.near else "need not be near to anybody"
    return "; ".join(_without(near, room) for near in missed)


def _without(near: Near, room: Room) -> str:
    zone = room.zones.get(near.by)
    return f"is in no {near.by}" if zone is None else f"{_spot(zone.key, zone.name)} has no machine of {near.tag}"


def anti_affinity(request: Request, room: Room) -> bool:
    """SCHED-09: none of those it must be apart from is there."""
    return all(_is_apart(near, room) for near in request.needs.apart)


def _is_apart(near: Near, room: Room) -> bool:
    zone = room.zones.get(near.by)
    return zone is not None and zone.tags[near.tag] == 0


def tell_anti_affinity(request: Request, room: Room) -> str:
    broken = [near for near in request.needs.apart if not _is_apart(near, room)]
    if not broken:
        return "is apart from whom it must be" if request.needs.apart else "need not be apart from anybody"
    return "; ".join(_with(near, room) for near in broken)


def _with(near: Near, room: Room) -> str:
    zone = room.zones.get(near.by)
    if zone is None:
        return f"is in no {near.by}"
    return f"{_spot(zone.key, zone.name)} has {zone.tags[near.tag]} of {near.tag} already"


def _spot(key: str, name: str) -> str:
    return "it" if key == HOST else f"its {key} {name}"


TABLE: tuple[Filter, ...] = (
    Filter("answers", answers, tell_answers, "instance"),
    Filter("active", active, tell_active, "instance"),
    Filter("maintenance", maintenance, tell_maintenance, "instance", moves=True),
    Filter("retry", retry, tell_retry, "machine"),
    Filter("bound", bound, tell_bound, "machine", moves=True),
    Filter("host_group", host_group, tell_host_group, "instance", moves=True),
    Filter("architecture", architecture, tell_architecture, "instance"),
    Filter("board", board, tell_board, "instance"),
    Filter("cpu", cpu, tell_cpu, "instance"),
    Filter("storage", storage, tell_storage, "instance", moves=True),
    Filter("network", network, tell_network, "instance", moves=True),
    Filter("data", data, tell_data, "machine"),
    Filter("properties", properties, tell_properties, "instance", moves=True),
    Filter("memory", memory, tell_memory),
    Filter("vcpus", vcpus, tell_vcpus),
    Filter("disk", disk, tell_disk),
    Filter("numa", numa, tell_numa),
    Filter("hugepages", hugepages, tell_hugepages),
    Filter("devices", devices, tell_devices),
    Filter("affinity", affinity, tell_affinity, moves=True),
    Filter("anti_affinity", anti_affinity, tell_anti_affinity, moves=True),
)
