# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a site with what is on them, and for each sort of machine the hosts that will do, the best first.

Placing a machine changes one host. So hosts are sorted once for each sort of machine, and a list that is looked at again moves
only those hosts to their new places that changed since: one more machine costs a few steps, whatever the number of hosts.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

from .policy import Multipliers, Policy
from .request import Request, Where
from .room import HOST, SITE, Room, Scale, Zone

MOST_RANKINGS = 128  # kept at a time
Groups = Mapping[str, Mapping[str, Iterable[str]]]  # key, name of the group, hosts


class Fleet:
    """Rooms by host. Taking and giving back is all that changes them."""

    def __init__(self, rooms: Iterable[Room], policy: Policy | None = None, groups: Groups | None = None) -> None:
        self.policy = policy or Policy()
        self.rooms: list[Room] = sorted(rooms, key=lambda room: room.host)
        self.by_host = {room.host: room for room in self.rooms}
        self.changes: list[int] = []  # places of the rooms that changed, in the order in which they did
        self.at: dict[str, Room] = {}  # machines, where rules count them
        self.leaving: dict[str, Room] = {}  # those that hold their share of a host until they have left it
        self._watched: set[str] = set()  # keys by which somebody's wishes weigh
        self._asked: dict[tuple[Where, frozenset[str] | None], list[Room]] = {}
        self._indexes: dict[tuple[Where, frozenset[str] | None], frozenset[int]] = {}
        self._turn = 0
        self._rankings: dict[Hashable, Ranking] = {}
        self.movers = tuple(row.accept for row in self.policy.filters if row.moves)
        self._usual = self.policy.multipliers_of(Request(vm=""))
        self._per_instance = self.policy.hanging_on("instance")
        self._per_machine = tuple(row.accept for row in self.policy.hanging_on("machine"))
        self._by_load = tuple(row.accept for row in self.policy.hanging_on("load"))
        self._scale()
        self._zone(groups or {})

    def _scale(self) -> None:
        scale = Scale(
            memory=max((room.memory for room in self.rooms), default=1) or 1,
            vcpus=max((room.nominal_vcpus for room in self.rooms), default=1) or 1,
        )
        for index, room in enumerate(self.rooms):
            room.index, room.scale = index, scale

    def _zone(self, groups: Groups) -> None:
        self.zones: dict[str, dict[str, Zone]] = {}
        for room in self.rooms:
            self._join(room, SITE, SITE)
            self._join(room, HOST, room.host)
        for key, named in groups.items():
            for name, hosts in named.items():
                for host in hosts:
                    if host in self.by_host:
                        self._join(self.by_host[host], key, name)

    def _join(self, room: Room, key: str, name: str) -> None:
        named = self.zones.setdefault(key, {})
        zone = named.setdefault(name, Zone(key, name))
        zone.rooms.append(room.index)
        room.zones[key] = zone

    # Taking and giving back

    def take(self, request: Request, room: Room) -> None:
        """A machine comes to a host (SCHED-08), and those with rules about it see it there (SCHED-09)."""
        self.at[request.vm] = room
        self._consume(request, room, 1)
        self._count(request, room, 1)

    def give_back(self, request: Request) -> Room | None:
        """A machine goes; the host it was on, if it was on one."""
        room = self.at.pop(request.vm, None)
        if room is not None:
            self._consume(request, room, -1)
            self._count(request, room, -1)
        return room

    def hold(self, request: Request, room: Room) -> None:
        """A machine takes its share of a host that it is about to leave: no rule counts it there any more."""
        self.leaving[request.vm] = room
        self._consume(request, room, 1)

    def let_go(self, request: Request) -> Room | None:
        """A machine has left; the host it held, if it held one."""
        room = self.leaving.pop(request.vm, None)
        if room is not None:
            self._consume(request, room, -1)
        return room

    def _consume(self, request: Request, room: Room, sign: int) -> None:
        room.consume(request, sign)
        self.changes.append(room.index)

    def _count(self, request: Request, room: Room, sign: int) -> None:
        tags = request.needs.tags
        for tag in tags:
            for zone in room.zones.values():
                zone.tags[tag] += sign
        for key in self._watched if tags else ():
            if key in room.zones:
                self.changes += room.zones[key].rooms

    def count_beside(self, tags: Iterable[str], host: str) -> None:
        """Rules about these names see a VM on a host that is placed by nobody, and whose share the room has taken."""
        room = self.by_host.get(host)
        for tag in tags if room is not None else ():
            for zone in self.by_host[host].zones.values():
                zone.tags[tag] += 1

    def count_apart(self, tags: Iterable[str], host: str) -> None:
        """Rules that keep VMs apart see one on a host without an answer; those that bring VMs together do not look there."""
        room = self.by_host.get(host)
        for key, zone in room.zones.items() if room is not None else ():
            zone.tags.update(() if key == SITE else tags)

    # Asking

    def accepts(self, request: Request, room: Room) -> bool:
        """Whether every filter says yes."""
        return all(row.accept(request, room) for row in self.policy.filters)

    def fits(self, request: Request, room: Room) -> bool:
        """Whether what hangs on the machine or the load says yes, of a room that `candidates` gave."""
        if room.down:
            return False
        for accept in self._per_machine:
            if not accept(request, room):
                return False
        return all(accept(request, room) for accept in self._by_load)

    def best(self, request: Request) -> list[Room]:
        """The best hosts that will do, as many as the subset has (SCHED-07)."""
        found: list[Room] = []
        for room in self.candidates(request):
            if self.fits(request, room):
                found.append(room)
                if len(found) >= self.policy.subset:
                    break
        return found

    def first(self, request: Request) -> Room | None:
        """Any host that will do: quicker than the best. Each search begins after the end of the last, so that it finds room."""
        rooms = self.eligible(request)
        self._turn += 1
        for at in range(len(rooms)):
            room = rooms[(self._turn + at) % len(rooms)]
            if self.fits(request, room):
                return room
        return None

    def close(self, room: Room) -> None:
        """Put a host into maintenance: what filters said of it before is forgotten."""
        room.maintenance = True
        self._asked.clear()
        self._indexes.clear()
        self._rankings.clear()

    def eligible(self, request: Request) -> list[Room]:
        """The hosts whose instance filters say yes and that it is bound to, by name."""
        return self._eligible(request, _among(request))

    def eligible_indexes(self, request: Request) -> frozenset[int]:
        """As `eligible`, to look hosts up in."""
        key = (request.where, _among(request))
        if key not in self._indexes:
            self._indexes[key] = frozenset(room.index for room in self.eligible(request))
        return self._indexes[key]

    def candidates(self, request: Request) -> Iterator[Room]:
        """The hosts whose instance filters say yes, the best first. Taking or giving back ends the iteration's truth."""
        return iter(self._ranking(request))

    def _ranking(self, request: Request) -> Ranking:
        multipliers = self.policy.multipliers_of(request) if request.needs.weighers else self._usual
        among = _among(request)
        read = tuple(row.reads(request) for row, times in zip(self.policy.weighers, multipliers, strict=True) if times)
        key = (request.where, among, multipliers, read)
        ranking = self._rankings.get(key)
        if ranking is None:
            if len(self._rankings) >= MOST_RANKINGS:
                del self._rankings[next(iter(self._rankings))]
            self._watched.update(near.by for near, _ in request.needs.wishes if near.by not in (HOST, SITE))
            ranking = self._rankings[key] = Ranking(self, request, multipliers, self._eligible(request, among))
        ranking.catch_up()
        return ranking

    def _eligible(self, request: Request, among: frozenset[str] | None) -> list[Room]:
        """The hosts that instance filters accept, asked once for all instances that are equal."""
        key = (request.where, among)
        if key not in self._asked:
            sets = [tie.hosts for tie in request.where.ties()]
            sets += [] if among is None else [among]
            # What is tied to a few hosts asks only those.
            few = min(sets, key=len, default=None)
            rooms = self.rooms if few is None else [self.by_host[host] for host in sorted(few) if host in self.by_host]
            self._asked[key] = [
                room
                for room in rooms
                if (among is None or room.host in among)
                and all(row.accept(request, room) for row in self._per_instance)
            ]
        return self._asked[key]


def _among(request: Request) -> frozenset[str] | None:
    """The hosts that the machine itself leaves, whatever its instance says."""
    if request.data is None:
        return request.bound
    return request.data if request.bound is None else request.data & request.bound


class Ranking:
    """Rooms in the order of their weight, the heaviest first, then by name."""

    def __init__(self, fleet: Fleet, request: Request, multipliers: Multipliers, rooms: Sequence[Room]) -> None:
        self._changes, self._rooms = fleet.changes, fleet.rooms
        self._request = request
        rows = zip(fleet.policy.weighers, multipliers, strict=True)
        self._scores = tuple((row.score, times) for row, times in rows if times)
        self._keys = {room.index: self._key(room) for room in rooms}
        self._sorted = sorted(self._keys.values())
        self._seen = len(self._changes)

    def _key(self, room: Room) -> tuple[float, int]:
        request, weight = self._request, 0.0
        for score, times in self._scores:
            weight += times * score(request, room)
        return -weight, room.index

    def catch_up(self) -> None:
        """Move the rooms that changed since the last time."""
        changed = self._changes[self._seen :]
        if not changed:
            return
        self._seen = len(self._changes)
        keys, ordered = self._keys, self._sorted
        touched = [index for index in (set(changed) if len(changed) > 1 else changed) if index in keys]
        if len(touched) * 4 > len(keys):
            for index in touched:
                keys[index] = self._key(self._rooms[index])
            self._sorted = sorted(keys.values())
            return
        for index in touched:
            new = self._key(self._rooms[index])
            if new != keys[index]:
                del ordered[bisect_left(ordered, keys[index])]
                insort(ordered, new)
                keys[index] = new

    def __iter__(self) -> Iterator[Room]:
        rooms = self._rooms
        return (rooms[index] for _, index in self._sorted)
