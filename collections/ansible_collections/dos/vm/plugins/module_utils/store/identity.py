# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host is which: a new name, a system installed anew, a cloned disk, another machine under an old name (LIMIT-06, HOST-02).

Pure.

A host is known by the identity of its installed system, and beside it by what the machine is made of:

    identity   hardware   name    it is
    known      any        same    the host we know
    known      any        new     that host under a new name; what was placed on it is on it still
    new        known      same    that host under another machine-id, where it has all VMs that were placed on it
    new        known      new     maybe that host, installed anew under a new name: said, and left to a person
    any        any        taken   another machine under an old name: what was placed on the former may run there still, so the
                                  name is not used until a person confirms that the former is dead
    same as another's that answers as well: a clone, or one host with two names: said, and nothing is registered
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .hosts import HostRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A host's word about itself, in this run."""

    identity: str
    hardware: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    vms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What is to be written, what is known under a new name (old → new), whose records are over, and what people must know.

    `foreign` are the names that another machine has taken from a host that VMs were placed on, each with what to do.
    """

    records: tuple[HostRecord, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)


def identify(
    known: Iterable[HostRecord],
    told: Mapping[str, Told],
    *,
    at: float,
    placed: Mapping[str, frozenset[str]] | None = None,
) -> Registration:
    """The hosts that answered, `told` by name, held against those that are `known`. `placed` are the VMs of each host."""
    made = _Registrar(list(known), told, at, placed or {})
    for name in sorted(told):
        made.take(name)
    return Registration(
        records=tuple(made.records),
        renamed=made.renamed,
        replaced=tuple(made.replaced),
        findings=tuple(made.findings),
        foreign=made.foreign,
    )


class _Registrar:
    def __init__(
        self, known: list[HostRecord], told: Mapping[str, Told], at: float, placed: Mapping[str, frozenset[str]]
    ) -> None:
        self._placed, self.foreign = placed, dict[str, str]()
        self._by_uuid = {record.uuid: record for record in known}
        self._by_name = {record.name: record for record in known}
        self._by_hardware = {record.hardware: record for record in known if record.hardware}
        self._told, self._at = told, at
        self._answering: defaultdict[str, list[str]] = defaultdict(list)
        for name, held in sorted(told.items()):
            self._answering[held.identity].append(name)
        self.records: list[HostRecord] = []
        self.renamed: dict[str, str] = {}
        self.replaced: list[str] = []
        self.findings: list[str] = []

    def take(self, name: str) -> None:
        held = self._told[name]
        same = self._answering[held.identity]
        if not held.identity:
            return
        if len(same) > 1:
            if name == same[0]:
                self.findings.append(self._twice(same))
            return
        record = self._by_uuid.get(held.identity)
        if why := self._taken(name, held):
            self.foreign[name] = why
            return
        if record is None:
            record = self._unknown(name, held)
        elif record.name != name:
            self.renamed[record.name] = name
            self.findings.append(f"host {record.name} is called {name} now; what was placed on it is on it still")
        self.records.append(self._written(name, held, record))

    def _taken(self, name: str, held: Told) -> str:
        """Why a machine may not be used by a name that VMs of another one were placed under; empty where it may."""
        former, vms = self._by_name.get(name), self._placed.get(name, frozenset())
        if former is None or former.uuid in self._answering or not vms:
            return ""
        unlike = former.hardware and held.hardware and former.hardware != held.hardware
        if vms <= held.vms and not unlike and held.identity not in self._by_uuid:
            return ""
        return (
            f"host {name} is another machine than before, or was installed anew: {', '.join(sorted(vms))} may still run on the"
            f" former one, so {name} is not used. If the former one runs nothing any more, confirm it:"
            f" ansible-playbook dos.vm.release -e dos_release={name} -e dos_confirm={name}"
        )

    def _unknown(self, name: str, held: Told) -> HostRecord | None:
        """The record that goes on under another identity, if one does."""
        former, alike = self._by_name.get(name), self._by_hardware.get(held.hardware)
        if former is not None and former.hardware in (held.hardware, None, ""):
            self.replaced.append(former.uuid)
            self.findings.append(f"host {name} has been installed anew; its record goes on")
            return former
        if former is not None:
            self.replaced.append(former.uuid)
            self.findings.append(
                f"host {name} is another machine than before: if the former one still runs, its guests run beside those"
                " started here; switch it off"
            )
        elif alike is not None and alike.name not in self._told:
            self.findings.append(
                f"host {name} is made of the same parts as {alike.name}, which does not answer: if it is the same machine,"
                f" installed anew, say so: ansible-playbook dos.vm.release -e dos_release={alike.name}"
            )
        return None

    def _twice(self, names: list[str]) -> str:
        parts = {self._told[name].hardware for name in names}
        both = " and ".join(names)
        if len(parts) == 1:
            return (
                f"{both} are one machine by two names, or clones: keep one name, or give each a machine-id of its own"
            )
        return (
            f"{both} have the same identity: the disk of one is a clone of the other's; on all but one run"
            " `rm /etc/machine-id; systemd-machine-id-setup` and restart it"
        )

    def _written(self, name: str, held: Told, record: HostRecord | None) -> HostRecord:
        return HostRecord(
            uuid=held.identity,
            name=name,
            hardware=held.hardware or None,
            facts=held.facts,
            registered=record.registered if record else self._at,
            answered=self._at,
            surveyed=record.surveyed if record else None,
        )


def surveyed(records: Iterable[HostRecord], at: float) -> Iterator[HostRecord]:
    """The records of hosts that were compared with the placements now."""
    for record in records:
        yield replace(record, surveyed=at)
