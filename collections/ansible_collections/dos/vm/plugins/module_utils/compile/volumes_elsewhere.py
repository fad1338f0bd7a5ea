# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host cannot know of its volumes by itself, told by the other hosts and the store.

Which of several hosts makes a volume that they share; which volume that a host does not have was there before, so that it is
not made empty; and which volume another host still has open, so that it is not deleted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import Problem, meant
from ..model.slice import Slice
from ..model.types import Name
from ..site.site import Site
from .machine import Machine
from .recall import Recall
from .states import HostState
from .storage import full_name, volume_names

NO_HOST = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVolumes:
    """The hosts with their slices, VMs and answers. `by_host` has the VMs that wait under no host."""

    site: Site
    slices: Mapping[str, Slice]
    by_host: Mapping[str, Sequence[Machine]]
    states: Mapping[str, HostState]
    recall: Recall


def with_volumes_elsewhere(hosts: HostVolumes) -> dict[str, Slice]:
    """The slices, each with what its host has to know of volumes."""
    known = _Known(hosts)
    return {host: known.slice(host, held) for host, held in hosts.slices.items()}


def with_unreachable_users(hosts: HostVolumes) -> dict[str, Slice]:
    """The slices of a run that may delete data: what is in a pool that an unreachable host shares may be open there."""
    known = _Known(hosts)
    after = {
        host: {**known.unreachable_users(host), **(held.deleted_after or {})} for host, held in hosts.slices.items()
    }
    return {host: replace(held, deleted_after=after[host] or None) for host, held in hosts.slices.items()}


def unclear_losses(hosts: HostVolumes, keys: Iterable[str]) -> Iterator[Problem]:
    """What is wrong with what `data_loss` names: a volume that several hosts have each for itself is named with its host."""
    known = _Known(hosts)
    for key in dict.fromkeys(keys):
        volume, _, host = key.removeprefix("volume ").partition(" on ")
        text = known.unclear(volume, host) if key.startswith("volume ") else ""
        if text:
            yield Problem("dos_allow.data_loss", f"{key}: {text}")


class _Known:
    """What is known of all volumes, by `pool/name`."""

    def __init__(self, hosts: HostVolumes) -> None:
        self._held, self._site, self._states = hosts, hosts.site, hosts.states
        site = hosts.site
        self._hosts = {str(name): sorted(site.hosts_of(pool) or site.hosts) for name, pool in site.pools.items()}
        self._shared = frozenset(str(name) for name, pool in site.pools.items() if pool.is_shared)
        self._of_site = frozenset(full_name(site, name) for name in site.volumes)
        self._used = {host: self._names_of(host) for host in (*site.hosts, NO_HOST)}
        self._declared: defaultdict[str, list[str]] = defaultdict(list)
        for host in sorted(hosts.slices):
            for volume in hosts.slices[host].volumes:
                self._declared[f"{volume.pool}/{volume.name}"].append(host)
        self._noted = {host: frozenset(state.facts.known_volumes) for host, state in self._states.items()}
        # What a host that answers noted itself is newer, unless it is another installed system than before.
        held = hosts.recall.memory.volumes
        self._before = {host: held[host] for host in held if host not in self._states or self._is_new(host)}
        dead = hosts.recall.dead
        self._silent = [host for host in site.hosts if self._states and host not in self._states and host not in dead]
        self._users = self._named()
        self._open = self._opened()

    def _is_new(self, host: str) -> bool:
        identity, before = self._states[host].facts.identity, self._held.recall.memory.identities.get(host)
        return bool(identity and before and identity != before)

    def _names_of(self, host: str) -> dict[str, str]:
        """The volumes that the VMs of a host have, each with one of these."""
        machines = self._held.by_host.get(host, ())
        return {name: str(machine.name) for machine in machines for name in volume_names(self._site, machine)}

    def _named(self) -> defaultdict[str, dict[str, str]]:
        """The domains that name a volume of a shared pool, by volume and host."""
        paths = {str(self._site.pools[Name(name)].path): name for name in self._shared}
        found: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for host, state in sorted(self._states.items()):
            for domain, names in sorted(state.disks.items()):
                what = f"{'VM' if state.domains.get(domain) else 'domain'} {domain}"
                for name in names:
                    folder, _, file = name.rpartition("/")
                    found[f"{paths[folder]}/{file}" if folder in paths else name].setdefault(host, what)
        return found

    def slice(self, host: str, held: Slice) -> Slice:
        volumes = tuple(volume for volume in held.volumes if self._is_kept(host, f"{volume.pool}/{volume.name}"))
        names = [f"{volume.pool}/{volume.name}" for volume in volumes]
        seen = self._states[host].volumes if host in self._states else frozenset(names)
        missing = [name for name in names if name not in seen]
        known = {name: why for name in missing if (why := next(self._reasons(name, host), ""))}
        return replace(
            held,
            host=Name(host),
            shared=tuple(sorted(pool.name for pool in held.pools if pool.name in self._shared)),
            volumes=volumes,
            known=known or None,
            awaited={name: Name(by) for name in missing if (by := self._maker(name)) != host} or None,
            deleted_after=self._deleted_after(host, names) or None,
            undeclared=tuple(sorted(name for name in self._noted.get(host, ()) if not self._is_declared(name))),
        )

    def unclear(self, name: str, host: str) -> str:
        """Why it is not clear which volume is meant by a name, with the host where one is named."""
        if host and host not in self._hosts.get(_pool(name), (host,)):
            return f"{host} does not have pool {_pool(name)}, {meant(host, self._hosts[_pool(name)], 'write one that has it')}"
        if host and _pool(name) in self._shared:
            return f"pool {_pool(name)} is shared, so write volume {name}"
        # Of a pool that is not declared any more it is unknown whether the hosts share it.
        having = self._having(name) if not host and _pool(name) in self._hosts.keys() - self._shared else []
        if len(having) < 2:
            return ""
        written = " or ".join(f"volume {name} on {other}" for other in having)
        return f"{' and '.join(having)} have such a volume each, write {written}"

    def _having(self, name: str) -> list[str]:
        """The hosts that have a volume, are to have it, or had it when they last answered."""
        left = {self._held.recall.left.get(used.get(name, "")) for used in self._used.values()}
        seen = {host for host, state in self._states.items() if name in state.volumes}
        before = {host for host, held in self._before.items() if name in held}
        return sorted(seen | before | set(self._declared.get(name, ())) | {host for host in left if host})

    # Who makes a volume

    def _is_kept(self, host: str, name: str) -> bool:
        """Whether a host has a volume in its slice: of a shared pool those that its own VMs use, or else the first that may."""
        return _pool(name) not in self._shared or not self._users_hosts(name) or name in self._used[host]

    def _users_hosts(self, name: str) -> list[str]:
        hosts = [host for host in self._declared[name] if name in self._used[host]]
        return [host for host in hosts if host in self._states] or hosts

    def _maker(self, name: str) -> str:
        hosts = self._users_hosts(name) or self._declared[name]
        return hosts[0]

    # Whether it is new

    def _reasons(self, name: str, host: str) -> Iterator[str]:
        """Why a volume that a host does not have is not new, as `Slice.known` takes it."""
        pool = _pool(name)
        others = [other for other in self._hosts[pool] if other != host]
        if pool in self._shared:
            yield from (f"{what} on {other} is defined with it" for other, what in self._users.get(name, {}).items())
        else:
            others = [other for other in others if other not in self._declared[name]]
        yield from (f"{other} has it" for other in others if self._has(other, name))
        yield from (f"it was made or found on {other} before" for other in others if name in self._noted.get(other, ()))
        for other in self._knew_before(name, [*others, host]):
            yield f"it was on {other}, which {self._why_unknown(other)}"
        yield from self._of_vms(name, host)
        if pool in self._shared and name in self._of_site:
            doubtful = [
                other for other in others if other in self._silent and other not in self._held.recall.memory.surveyed
            ]
            yield from (f"{other}, which shares its pool, {self._why_unknown(other)}" for other in doubtful)

    def _knew_before(self, name: str, hosts: Sequence[str]) -> Iterator[str]:
        """The hosts that had it when they last answered. Of VMs that were on a dead one their placements tell."""
        for host in hosts:
            if name in self._before.get(host, ()) and (name in self._of_site or host not in self._held.recall.dead):
                yield host

    def _why_unknown(self, host: str) -> str:
        if host in self._states:
            return "has been installed anew"
        return "was not asked" if host in self._held.recall.unasked else "is unreachable"

    def _has(self, host: str, name: str) -> bool:
        return host in self._states and name in self._states[host].volumes

    def _of_vms(self, name: str, host: str) -> Iterator[str]:
        """VMs that had it on a host that was released, or that wait for a host that may have them."""
        if name in self._used[NO_HOST]:
            yield f"VM {self._used[NO_HOST][name]} has it, and waits"
        vm = self._used[host].get(name, "")
        left = self._held.recall.left.get(vm)
        if left is not None and left != host:
            yield f"VM {vm} was on {left} when that was released"

    # Whether it may go

    def _deleted_after(self, host: str, names: Sequence[str]) -> dict[str, str]:
        """The volumes that other hosts may have open, each with what is waited for."""
        waiting = self._used[NO_HOST]
        shared = (name for name in names if _pool(name) in self._shared and name in waiting)
        return {name: f"VM {waiting[name]} is on a host that answers" for name in shared} | self._open.get(host, {})

    def _opened(self) -> dict[str, dict[str, str]]:
        """By host, the volumes that it may delete or make anew and that domains of others name."""
        found: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for name, users in self._users.items():
            for host in self._deleting(name):
                others = [f"{what} on {other}" for other, what in users.items() if other != host]
                if others:
                    found[host][name] = f"{' and '.join(others)} {'is' if len(others) == 1 else 'are'} gone"
        return found

    def _deleting(self, name: str) -> Iterable[str]:
        """The hosts that may delete a volume that others see, or make it anew: those that have it, and the first of its pool what
        is not declared. Of a pool that is not declared it is unknown who sees it, and libvirt may not have looked yet."""
        pool = _pool(name)
        if pool not in self._hosts:
            return list(self._states)
        return (self._declared.get(name) or self._hosts[pool][:1]) if pool in self._shared else ()

    def unreachable_users(self, host: str) -> dict[str, str]:
        """The shared pools of a host that an unreachable one has as well, as `pool/*`, each with what is waited for."""
        others = {
            pool: [other for other in self._hosts[pool] if other in self._silent] for pool in sorted(self._shared)
        }
        return {
            f"{pool}/*": f"{silent[0]} answers"
            for pool, silent in others.items()
            if silent and host in self._hosts[pool]
        }

    def _is_declared(self, name: str) -> bool:
        return bool(self._declared.get(name)) or name in self._used[NO_HOST] or name in self._of_site


def _pool(name: str) -> str:
    return name.partition("/")[0]
