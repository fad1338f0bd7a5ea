# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts in memory that share a directory, and runs over them as the playbooks do them: read, decide, converge."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from dosvm.apply import Outcome, converge
from dosvm.compile.memory import Memory
from dosvm.compile.recall import Recall
from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.compile.volumes_elsewhere import HostVolumes, with_unreachable_users
from dosvm.errors import ConflictError, DeclarationError, HypervisorError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.slice import Permission
from dosvm.plan.layers import disk_names
from dosvm.site.site import Site
from dosvm.xml.common import mark_of

SHARED = "/srv/common/"


class Files(MutableMapping[str, Any]):
    """The files of a host: its own, and those in the directory that all hosts share."""

    def __init__(self, own: Mapping[str, Any], common: MutableMapping[str, Any]) -> None:
        self._own, self._common = dict(own), common

    def _of(self, path: str) -> MutableMapping[str, Any]:
        return self._common if str(path).startswith(SHARED) else self._own

    def __getitem__(self, path: str) -> Any:
        return self._of(path)[path]

    def __setitem__(self, path: str, file: Any) -> None:
        self._of(path)[path] = file

    def __delitem__(self, path: str) -> None:
        del self._of(path)[path]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self._common])

    def __len__(self) -> int:
        return len(self._own) + len(self._common)


class Hosts:
    """The hosts by name, and what a store would have of them. `unreachable` ones run on, and no run gets to them."""

    def __init__(self, *names: str, with_store: bool = True, files: Mapping[str, int] | None = None) -> None:
        self.common: dict[str, Any] = {}
        self.by_name = {name: FakeHypervisor(files=files or {}) for name in names}
        for host in self.by_name.values():
            host.files = Files(host.files, self.common)  # type: ignore[assignment]  # it is used as one
        self.with_store, self.memory = with_store, Memory()
        self.unreachable: set[str] = set()
        self.compiled: Compiled | None = None
        self.identities = {name: f"{name} 1" for name in names}

    def states(self) -> dict[str, HostState]:
        """What the hosts that answer tell of themselves."""
        answering = {name: host for name, host in self.by_name.items() if name not in self.unreachable}
        return {name: _state(host, self.identities[name]) for name, host in answering.items()}

    def run(self, site: Site, *data_loss: str, prune: bool = False, dry_run: bool = False) -> dict[str, Outcome]:
        """One run over the hosts that answer. What a host refuses as a whole is left out."""
        states = self.states()
        self.memory = replace(self.memory, dead=self.memory.dead - frozenset(states))
        try:
            self.compiled = made = compile_site(site, states, now=0.0, memory=self.memory)
        except DeclarationError:
            return {}  # a VM that no host can take: the run is refused as a whole
        if self.with_store and not dry_run:
            self._keep(made, states)
        slices = made.slices if not data_loss else with_unreachable_users(_volumes(site, made, states, self.memory))
        permission = Permission(prune=prune, restart=True, recreate=True, data_loss=data_loss)
        outcomes = {}
        for name in states:
            before = {path for host in self.by_name.values() for path in host.files}
            with suppress(ConflictError, HypervisorError):
                outcomes[name] = converge(slices[name], self.by_name[name], permission=permission, dry_run=dry_run)
            lost = before - {path for host in self.by_name.values() for path in host.files}
            assert not lost & self.opened(), f"deleted under a guest that has it open: {lost & self.opened()}"
        return outcomes

    def opened(self) -> set[str]:
        """The files in the shared directory that guests have open, on whichever host."""
        running = (
            seen for host in self.by_name.values() for seen in host.observe("dos").values() if seen.live is not None
        )
        names = (name for seen in running if seen.address.kind == "domain" for name in disk_names(seen))
        return {f"{SHARED}{name.removeprefix('common/')}" for name in names if name.startswith("common/")}

    def _keep(self, made: Compiled, states: Mapping[str, HostState]) -> None:
        known = {name: frozenset(state.facts.known_volumes) for name, state in states.items()}
        self.memory = replace(
            self.memory,
            placements={**self.memory.placements, **{one.vm: one for one in made.placements}},
            surveyed=self.memory.surveyed | frozenset(states),
            volumes={**self.memory.volumes, **known},
            identities={**self.memory.identities, **{name: self.identities[name] for name in states}},
        )

    def release(self, name: str) -> None:
        """A person confirms that a host is dead."""
        free = {
            vm: replace(held, host=None, epoch=held.epoch + 1, seen=False, left=held.left or name)
            for vm, held in self.memory.placements.items()
            if held.host == name
        }
        self.memory = replace(
            self.memory,
            placements={**self.memory.placements, **free},
            surveyed=self.memory.surveyed - {name},
            dead=self.memory.dead | {name},
        )

    # What people do by hand

    def lose(self, path: str, *hosts: str) -> None:
        """A file goes without libvirt: on all hosts where it is in the directory that they share."""
        for name in hosts or self.by_name:
            self.by_name[name].files.pop(path, None)
            self.by_name[name].known.discard(path)

    def stop_pool(self, name: str, pool: str) -> None:
        if (held := self.by_name[name].objects.get(Address("pool", pool))) is not None:
            held.active = False

    def undefine(self, name: str, vm: str) -> None:
        """Off, and without its definition."""
        self.by_name[name].objects.pop(Address("domain", vm), None)

    def install_anew(self, name: str) -> None:
        """Nothing of its own is left on a host."""
        self.by_name[name] = FakeHypervisor()
        self.by_name[name].files = Files({}, self.common)  # type: ignore[assignment]  # it is used as one
        self.identities[name] += "1"

    def with_vm(self, vm: str) -> Collection[str]:
        return [name for name, host in self.by_name.items() if Address("domain", vm) in host.objects]


def _volumes(site: Site, made: Compiled, states: Mapping[str, HostState], memory: Memory) -> HostVolumes:
    recall = Recall(memory, states, site.hosts)
    return HostVolumes(site=site, slices=made.slices, by_host=made.machines, states=states, recall=recall)


def _state(host: FakeHypervisor, identity: str) -> HostState:
    found = host.observe("dos")
    domains = {at.name: seen for at, seen in found.items() if at.kind == "domain"}
    volumes = {at.name: seen for at, seen in found.items() if at.kind == "volume"}
    return HostState(
        facts=replace(host.facts(), identity=identity),
        domains={name: seen.ours for name, seen in domains.items()},
        active={name: (1, 2**26) for name, seen in domains.items() if seen.active},
        volumes=frozenset(volumes),
        epochs={
            name: epoch
            for name, seen in domains.items()
            if (epoch := (mark_of(seen.xml) or {}).get("epoch")) is not None
        },
        disks={name: frozenset(disk_names(seen)) for name, seen in domains.items()},
        backings={name: path for name, seen in volumes.items() if (path := seen.xml.findtext("backingStore/path"))},
    )
