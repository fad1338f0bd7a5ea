# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered, held against what the hosts told: where a machine without a definition is, who must wait, what is new.

A host's word counts for more than memory, and memory for more than silence. A machine is on a host that does not answer if it
was there last; it is not, if everything of that host is remembered and it was never placed. Where memory and a host
contradict each other and the truth may be on a third that is silent, the machine waits: it must not run twice (law 8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import DeclarationError
from .memory import Memory, Placement
from .states import HostState


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What tells of a machine beside its definition.

    `allowed` are the hosts that it may be started on, `reach` those that have its disks, each `None` for any. `found`: a host
    has it, or a disk made for it alone. `disks` are the hosts that answered and know a disk that was made for it, `failed`
    those that could not start it in this run.
    """

    allowed: frozenset[str] | None = None
    reach: frozenset[str] | None = None
    found: bool = False
    disks: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()

    def within(self, hosts: frozenset[str]) -> frozenset[str]:
        return hosts if self.allowed is None else hosts & self.allowed

    def reachable(self, hosts: frozenset[str]) -> frozenset[str]:
        return hosts if self.reach is None else hosts & self.reach


class Wait(NamedTuple):
    """Why a machine may be started nowhere now, and the hosts without an answer that may have it."""

    reason: str
    hosts: frozenset[str]


class Recall:
    """`memory` beside the `states` of the hosts that answered, of all the `hosts` there are; `unasked` are left out by a limit."""

    def __init__(
        self,
        memory: Memory,
        states: Mapping[str, HostState],
        hosts: Iterable[str],
        unasked: frozenset[str] = frozenset(),
    ) -> None:
        self._unasked = unasked
        self._memory = memory
        self._placements, self._surveyed = memory.placements, memory.surveyed
        self._states, self._hosts = states, frozenset(map(str, hosts))
        self._foreign = memory.foreign
        # By evidence, which ends when the host answers; one that was not asked may.
        self.dead = memory.dead - frozenset(states) - unasked
        self._silent = self._hosts - frozenset(states) - self.dead
        self._fences: dict[str, int] = {}
        for state in states.values():
            for vm, epoch in (state.facts.fences or {}).items():
                self._fences[vm] = max(epoch, self._fences.get(vm, 0))
        self._on: defaultdict[str, list[str]] = defaultdict(list)
        for host in sorted(states):
            for vm, ours in states[host].domains.items():
                if ours:
                    self._on[vm].append(host)

    @property
    def may_wait(self) -> bool:
        """Whether any machine could have to wait for a host."""
        return bool(self._silent or self.dead) or self.has_outside

    @property
    def has_outside(self) -> bool:
        """Whether a VM was placed on a host that is not in the inventory, and that may run it still."""
        return any(held.host not in self._hosts | self.dead for held in self._placements.values() if held.host)

    def is_defined(self, vm: str) -> bool:
        """Whether a host that answered has it."""
        return bool(self._on.get(vm))

    def host(self, vm: str) -> str | None:
        """The answering host that a machine was placed on; somebody may be defining it there this very moment."""
        held = self._placements.get(vm)
        return held.host if held is not None and held.host in self._states else None

    def runs_where_placed(self, vm: str) -> str | None:
        """The host that a VM was placed on, if it answers that the VM runs there."""
        host = self.host(vm)
        return host if host is not None and host in self._on.get(vm, ()) and self._states[host].runs(vm) else None

    def is_placed_on(self, vm: str, hosts: frozenset[str]) -> bool:
        """Whether the last that is remembered of a VM is that it is on one of these."""
        held = self._placements.get(vm)
        return held is not None and held.host in hosts

    @property
    def unasked(self) -> frozenset[str]:
        """The hosts that a limit leaves out."""
        return self._unasked

    @property
    def memory(self) -> Memory:
        """What is remembered."""
        return self._memory

    @property
    def left(self) -> dict[str, str]:
        """The hosts that VMs were on when these were released, by VM, as far as none was found elsewhere since."""
        return {vm: held.left for vm, held in self._placements.items() if held.left is not None}

    def wait(self, vm: str, trace: Trace) -> Wait | None:
        """Why a machine may be started nowhere now; nothing when it may."""
        held = self._placements.get(vm)
        if not self._on.get(vm) and trace.allowed and trace.allowed <= self.dead:
            reason = f"waits: it is bound to {', '.join(sorted(trace.allowed))}, confirmed to run nothing any more"
            return Wait(reason, trace.allowed)
        if held is not None and held.host in self.dead:
            return None
        if held is not None and held.host is not None and held.host not in self._states:
            reason = self._elsewhere(vm, held, held.host)
            return Wait(reason, frozenset([held.host])) if reason else None
        if trace.found or self._on.get(vm):
            return None
        doubtful = self._doubtful(held, trace)
        if not doubtful:
            return None
        it = "it"
        if held is not None and held.host is not None:
            was = "was" if held.seen else "was placed"
            it = f"it {was} on {held.host}, is not there{' any more' if held.seen else ''}, and"
        return Wait(f"waits: {it} may be on {', '.join(sorted(doubtful))}, {self._without_answer(doubtful)}", doubtful)

    def _without_answer(self, hosts: Iterable[str]) -> str:
        """Why nothing is known of hosts, as the end of a sentence."""
        return "which was not asked" if self._unasked.issuperset(hosts) else "and there is no answer from there"

    def _doubtful(self, held: Placement | None, trace: Trace) -> frozenset[str]:
        """The silent hosts that may have a machine which no other host has.

        Where it is bound to says where we start it, and not where people took it: of what was there once, only its disks
        say how far it can have gone.
        """
        possible, reachable = trace.within(self._silent), trace.reachable(self._silent)
        if possible and possible == trace.allowed:
            return possible  # it may be nowhere, and can come to be nowhere else
        if held is None:
            return reachable if trace.disks else possible - self._surveyed
        if held.host is None:
            return reachable if held.seen else frozenset()  # in doubt since; or let go, and nobody has it
        # A claim says nothing of whether it was followed: the run may have been killed before it made the machine, or before
        # anybody looked. Its disks tell, and so does the run itself when it failed.
        followed = held.seen or held.host in trace.disks
        return reachable if followed and (held.seen or held.host not in trace.failed) else frozenset()

    def _elsewhere(self, vm: str, held: Placement, host: str) -> str:
        """It was placed on a host that does not answer."""
        running = [one for one in self._on.get(vm, ()) if self._states[one].runs(vm)]
        if running:
            return ""  # it is where it runs, whatever is remembered
        if host not in self._hosts:
            return (
                f"waits: it was placed on {host}, which is not in the inventory; if that host runs nothing any more, confirm it:"
                f" ansible-playbook dos.vm.release -e dos_release={host}"
            )
        older = [one for one in self._on.get(vm, ()) if not self._states[one].runs(vm)]
        beside = f"; {', '.join(older)} has an older definition, which must not be started" if older else ""
        if host in self._foreign:
            return f"waits: it is on {host}, and another machine answers by that name{beside}"
        return f"waits: it is on {host}, {self._without_answer([host])}{beside}"

    def operand(self, vm: str) -> str:
        """The host that an operation on a VM goes to: where it runs, else where it was placed, else its newest definition.

        Raises `DeclarationError` where that is unreachable or in doubt: an older definition is never started.
        """
        on, held = self._on.get(vm, []), self._placements.get(vm)
        running = [host for host in on if self._states[host].runs(vm)]
        placed = None if held is None else held.host
        if len(running) > 1:
            raise _refused(vm, f"runs on {' and '.join(running)}: stop it on all but one first, with virsh (law 8)")
        if running:
            return running[0]
        if placed is not None and placed not in self._states and placed not in self.dead:
            older = f"; {', '.join(on)} has an older definition, which is never started" if on else ""
            word = "which was not asked: leave out --limit" if placed in self._unasked else "which is unreachable"
            raise _refused(vm, f"is on {placed}, {word}{older}")
        if not on:
            raise _refused(vm, "is on no host that answered; dos.vm.site makes it")
        last = self._newest(vm)
        if len(last) > 1:
            raise _refused(vm, f"is defined on {' and '.join(last)}, and none is newer: undefine it on all but one")
        return last[0]

    def newest(self, vm: str) -> str | None:
        """Of several hosts that have a VM which runs on none of them, the one with the newest definition, if one is."""
        last = self._newest(vm) if len(self._on.get(vm, ())) > 1 else []
        return last[0] if len(last) == 1 else None

    def _newest(self, vm: str) -> list[str]:
        """The hosts with the newest definition: the one that it was placed on, else those of the highest epoch."""
        on, held = self._on[vm], self._placements.get(vm)
        if held is not None and held.host in on:
            return [held.host]
        epochs = {host: self._states[host].epochs.get(vm, 0) for host in on}
        return [host for host in on if epochs[host] == max(epochs.values())]

    def errors(self) -> Iterator[str]:
        """VMs that run on more than one host."""
        for vm, hosts in sorted(self._on.items()):
            running = [host for host in hosts if self._states[host].runs(vm)]
            if len(running) > 1:
                yield f"{vm} RUNS ON {' AND '.join(running)}: stop it on all but one now (law 8)"

    def findings(self) -> Iterator[str]:
        """Further contradictions: VMs that are defined on more than one host, and those that run where they were not placed."""
        for vm, hosts in sorted(self._on.items()):
            held = self._placements.get(vm)
            running = [host for host in hosts if self._states[host].runs(vm)]
            if len(running) > 1:
                continue  # an error
            if len(hosts) > 1:
                yield self._twice(vm, hosts, running[0] if running else self.newest(vm))
            elif running and held is not None and held.host in self._silent:
                word = "was not asked" if held.host in self._unasked else "does not answer"
                yield f"{vm} runs on {running[0]}, and was placed on {held.host}, which {word}"

    def _twice(self, vm: str, hosts: list[str], home: str | None) -> str:
        """What to say of a VM with two definitions: which one is left from before, where that is known."""
        held = self._placements.get(vm)
        older = [host for host in hosts if host != home]
        if home is None or held is None or held.host != home:
            return f"{vm} is defined on {' and '.join(hosts)}: undefine it on all but one"
        return (
            f"{', '.join(older)} has an older definition of {vm}, which is on {home} now: it is never started, and"
            " dos_prune: true removes it"
        )

    def changes(self, decided: Mapping[str, str | None], projects: Mapping[str, str]) -> tuple[Placement, ...]:
        """The placements that are to be remembered from now on, as far as they are not yet.

        `decided` is the host of every declared machine, or nothing where it waits; `projects` whose it is.
        """
        return tuple([*self._declared(decided, projects), *self._undeclared(decided)])

    def _declared(self, decided: Mapping[str, str | None], projects: Mapping[str, str]) -> Iterator[Placement]:
        for vm, host in decided.items():
            if host is not None:
                yield from self._changed(vm, host, projects.get(vm))
            elif vm not in self._placements and self._silent:
                # Which hosts were silent when it was first missed is forgotten; that it was missed must not be.
                yield Placement(vm=vm, host=None, epoch=1, seen=True, project=projects.get(vm))

    def _undeclared(self, decided: Mapping[str, str | None]) -> Iterator[Placement]:
        """What hosts have beside what is declared; and what they no longer have, which is let go."""
        for vm, hosts in self._on.items():
            held = self._placements.get(vm)
            at = self._surely(vm, hosts)
            if vm not in decided and at is not None and (held is None or held.host not in self._silent):
                yield from self._changed(vm, at, held.project if held else None)
        for vm, held in self._placements.items():
            if vm not in decided and vm not in self._on and held.host in self._states and not self._silent:
                yield Placement(vm=vm, host=None, epoch=held.epoch + 1, project=held.project)

    def _surely(self, vm: str, hosts: list[str]) -> str | None:
        """Where a machine is that several hosts may have: where it alone runs, else where it was placed, else nobody knows."""
        running = [host for host in hosts if self._states[host].runs(vm)]
        held = self._placements.get(vm)
        if len(running) == 1 or len(hosts) == 1:
            return (running or hosts)[0]
        return held.host if held is not None and held.host in hosts else None

    def leave(self, targets: Mapping[str, str]) -> tuple[Placement, ...]:
        """The placements of machines that are about to move to other hosts."""
        return tuple(
            Placement(vm=vm, host=host, epoch=self._last(vm) + 1, project=held.project if held else None)
            for vm, host in sorted(targets.items())
            for held in [self._placements.get(vm)]
        )

    def taken(self, changes: Iterable[Placement]) -> dict[str, dict[str, int]]:
        """By host that answered without having it, a machine that `changes` give to another one, with the epoch of that.

        Whoever decided before may be about to make it there (law 8), unless something of its name is there that is not ours.
        """
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for change in changes:
            held = self._placements.get(change.vm)
            was = str(held.host) if held is not None else ""
            if was in self._states and was != change.host and change.vm not in self._states[was].domains:
                found[was][change.vm] = change.epoch
        return dict(found)

    def _last(self, vm: str) -> int:
        """The highest epoch that anything tells of: the store, a definition, or a host that it was taken from."""
        held = self._placements.get(vm)
        marked = (self._states[one].epochs.get(vm, 0) for one in self._on.get(vm, ()))
        return max(self._fences.get(vm, 0), held.epoch if held else 0, *marked, 0)

    def _changed(self, vm: str, host: str, project: str | None) -> Iterator[Placement]:
        held, last = self._placements.get(vm), self._last(vm)
        moved = held is not None and held.host != host
        seen = host in self._on.get(vm, ())
        left = None if seen or held is None else held.left or (held.host if moved and held.host in self.dead else None)
        wanted = Placement(vm=vm, host=host, epoch=max(1, last + moved), seen=seen, project=project, left=left)
        if wanted != held:
            yield wanted

    def epoch_of(self, vm: str, host: str, changes: Mapping[str, Placement]) -> int | None:
        """What is written into a definition that is made now. One that is there keeps what it was made with."""
        if host in self._on.get(vm, ()):
            return None
        held = changes.get(vm) or self._placements.get(vm)
        return held.epoch if held is not None else None


def _refused(vm: str, why: str) -> DeclarationError:
    return DeclarationError.at(vm, why)
