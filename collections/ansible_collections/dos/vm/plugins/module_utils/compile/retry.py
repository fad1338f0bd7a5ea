# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that a host could not bring up, and that another one may try in the same run (SCHED-10). Pure.

Only machines that were to be made in this run: who was there before has a host, and its data. What the failed host made of one
is taken away again before another tries, else it would be on two; a disk of its own that this run made holds nothing yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..site.site import Site
from .machine import Machine

Answers = Mapping[str, Mapping[str, Any]]  # what `dos.vm.host` returned, by host
Failures = dict[str, dict[str, str]]  # host, object, reason

NOT_ATTEMPTED = "not attempted, since "


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """A machine that a host could not bring up, why, and what it has of it."""

    vm: str
    host: str
    reason: str
    defined: bool = False
    volumes: tuple[str, ...] = ()  # that this run made, `pool/name`


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Who is tried again: `tried` are the hosts that failed so far, with their reasons, by machine.

    `lost` are machines that are tried no more. `settled` are hosts of which nothing failed but machines that another one has
    by now.
    """

    again: tuple[Setback, ...] = ()
    tried: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    settled: frozenset[str] = frozenset()


def outlook(
    site: Site,
    found: Iterable[Machine],
    answers: Answers,
    *,
    tried: Mapping[str, Mapping[str, str]],
    failures: Mapping[str, Mapping[str, str]],
    placed: Mapping[str, str | None],
    attempt: int,
) -> Outlook:
    """What is to be done after an attempt, the first being 1.

    `answers` are those of this attempt, `failures` those of all attempts with this one, `tried` those of the ones before it;
    `placed` is where every machine was to be in this one.
    """
    machines = {str(machine.name): machine for machine in found}
    new = [one for host in sorted(answers) for one in _setbacks(machines, host, answers[host])]
    known = {vm: dict(reasons) for vm, reasons in tried.items()}
    for one in new:
        known.setdefault(one.vm, {})[one.host] = one.reason
    again = tuple(
        one for one in new if attempt < site.placement.attempts and _another(site, machines[one.vm], known[one.vm])
    )
    trying = {one.vm for one in again}
    lost = {one.vm for one in new} | {vm for vm in known if placed.get(vm) is None}
    done = {f"domain {vm}" for vm in known if vm not in lost | trying} | {
        f"volume {disk}" for vm in known if vm not in lost | trying for disk in machines[vm].made_disks()
    }
    return Outlook(
        again=again,
        tried=known,
        lost=tuple(sorted(lost - trying)),
        settled=frozenset(host for host, held in failures.items() if held and set(held) <= done),
    )


def failures_of(answers: Answers, before: Mapping[str, Mapping[str, str]]) -> Failures:
    """What has failed on each host so far. What a host has left to do counts as failed: it was stopped by what did."""
    held = {host: dict(reasons) for host, reasons in before.items()}
    for host, answer in answers.items():
        for one in answer.get("failures") or ():
            held.setdefault(host, {})[str(one["object"])] = str(one["reason"])
        if answer.get("remaining"):
            held.setdefault(host, {})["the rest"] = f"{answer['remaining']} actions were not reached"
    return held


def _setbacks(machines: Mapping[str, Machine], host: str, answer: Mapping[str, Any]) -> Iterator[Setback]:
    reasons = {str(one["object"]): str(one["reason"]) for one in answer.get("failures") or ()}
    domains = {str(one["name"]): bool(one["active"]) for one in (answer.get("facts") or {}).get("domains", ())}
    made = {(plan["kind"], plan["name"]) for plan in answer.get("plans", ()) if plan["verdict"] == "create"}
    for vm, machine in machines.items():
        why = reasons.get(f"domain {vm}")
        if why is not None and ("domain", vm) in made and not domains.get(vm):
            # Not what was to be made: one that was in the way is somebody's. On shared storage as well, for the next host's
            # libvirt would not know of it.
            done = set(answer.get("performed", ()))
            volumes = (disk for disk in sorted(machine.made_disks()) if f"volume {disk} has been created" in done)
            yield Setback(vm=vm, host=host, reason=_root(why, reasons), defined=vm in domains, volumes=tuple(volumes))


def _root(why: str, reasons: Mapping[str, str]) -> str:
    """The reason behind one that only says what came first."""
    behind = why.removeprefix(NOT_ATTEMPTED).removesuffix(" failed")
    if not why.startswith(NOT_ATTEMPTED) or behind not in reasons:
        return why
    further = reasons[behind]
    return _root(further, reasons) if further.startswith(NOT_ATTEMPTED) else f"{behind}: {further}"


def _another(site: Site, machine: Machine, failed: Iterable[str]) -> bool:
    """Whether it may be anywhere else at all."""
    allowed = machine.hosts(site)
    return bool(set(site.hosts if allowed is None else allowed) - set(failed))
