# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at the hosts brought: a plan, or the reason why there is none. Plain values, read from the plan's JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VERDICTS = ("create", "change", "remove", "keep", "left", "unmanaged", "conflict")
SIGNS = {"create": "+", "change": "~", "remove": "-", "left": "?", "conflict": "!"}
INTERRUPTING = frozenset(["restart", "migrate", "recreate", "data_loss"])
# What is made anew is removed first.
REMOVING = frozenset(["recreate", "data_loss"])
SILENT = frozenset(["keep", "unmanaged"])
VERSIONS = (1, 2)  # that are read; the second adds moves, waiting, gateways and findings

Told = Mapping[str, Any]  # one object's plan, as the `host` module told it


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The difference between what is declared and what the hosts hold, in numbers and as text."""

    verdicts: Mapping[str, int]
    changes: int  # objects something would be done to: made, changed, removed, or moved to another host
    removals: int  # of these, the ones removed, or removed to be made anew
    drift: int  # objects that are not as declared, also where nothing may be done about it
    interruptions: int  # objects that wait for an interruption: planned, not allowed, or the next start
    text: str
    failed: str = ""  # the hosts this says nothing of, each with the reason
    waiting: int = 0  # VMs and gateways that wait for a host, which drift counts as well
    findings: tuple[str, ...] = ()  # what contradicts what, such as a VM that runs on two hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """There is no plan. Terminal: looking again brings the same until the inventory changes."""

    text: str
    terminal: bool = False


Seen = Plan | Failure


def read(document: Mapping[str, Any], failed: str = "") -> Seen:
    """The plan that `dos_plan_file` holds; `failed` says of which hosts it holds nothing."""
    try:
        return _read(document, failed)
    except (AttributeError, KeyError, TypeError, ValueError) as broken:
        return Failure(text=f"the plan is malformed: {type(broken).__name__}: {ascii(str(broken))[:200]}")


def _read(document: Mapping[str, Any], failed: str) -> Seen:
    if document.get("version") not in VERSIONS or "hosts" not in document:
        known = " and ".join(map(str, VERSIONS))
        return Failure(text=f"the plan has format {document.get('version')!r}; this daemon reads formats {known}")
    hosts: Mapping[str, list[Told]] = document["hosts"]
    objects = [told for plans in hosts.values() for told in plans]
    done = [told for told in objects if _acts(told)]
    moves: list[Told] = list(document.get("moves", ()))
    allowed = [move for move in moves if move["blocked_by"] is None]
    waiting = list(_waiting(document))
    findings = tuple(str(finding["message"]) for finding in document.get("findings", ()))
    return Plan(
        verdicts=Counter(told["verdict"] for told in objects),
        changes=len(done) + len(allowed),
        removals=sum(_removes(told) for told in done),
        drift=sum(_differs(told) for told in objects) + len(moves) + len(waiting) + len(findings),
        interruptions=sum(_interrupts(told) for told in objects) + len(moves),
        text="\n".join((*findings, *waiting, *map(_move, moves), *_lines(hosts))),
        failed=failed,
        waiting=len(waiting),
        findings=findings,
    )


def _waiting(document: Mapping[str, Any]) -> Iterator[str]:
    """A line for every VM and every gateway that waits for a host."""
    for held in document.get("waiting", ()):
        yield f"{held['vm']} {held['reason']}"
    for gateway in document.get("gateways", ()):
        if gateway["host"] is None:
            yield f"gateway of {gateway['network']} {gateway['reason']}"


def _move(told: Told) -> str:
    target = f" to {told['target']}" if told["target"] else ""
    blocked = f"  [blocked by {told['blocked_by']}]" if told["blocked_by"] else ""
    return f"{told['vm']} goes from {told['source']}{target}: {told['reason']}{blocked}"


def _acts(told: Told) -> bool:
    return bool(told.get("actions")) or told["verdict"] in ("create", "remove")


def _removes(told: Told) -> bool:
    return told["verdict"] == "remove" or told.get("disruption") in REMOVING


def _differs(told: Told) -> bool:
    """Whether the object is drift. What is only no longer declared is shown, and is none: nobody asked to remove it."""
    if told["verdict"] in ("left", "unmanaged"):
        return False
    return _acts(told) or bool(told.get("withheld")) or told["verdict"] == "conflict"


def _interrupts(told: Told) -> bool:
    planned = _acts(told) and told.get("disruption") in INTERRUPTING
    withheld = bool(told.get("withheld")) and told["verdict"] != "left"
    return planned or withheld or bool(told.get("pending"))


def _lines(hosts: Mapping[str, list[Told]]) -> Iterator[str]:
    for host, plans in sorted(hosts.items()):
        told = [each for each in plans if each["verdict"] not in SILENT or each.get("pending") or each.get("notes")]
        if told:
            yield f"host {host}"
        for each in told:
            yield from _object(each)


def _object(told: Told) -> Iterator[str]:
    origin = f"  ({told['origin']})" if told.get("origin") else ""
    problem = f": {told['problem']}" if told.get("problem") else ""
    yield f"  {SIGNS.get(told['verdict'], ' ')} {told['kind']} {told['name']}{origin}{problem}"
    for label in ("changes", "pending"):
        for change in told.get(label) or ():
            when = change["disruption"] if label == "changes" else "pending restart"
            yield f"      {change['path']}: {change.get('before')} → {change.get('after')}  [{when}]"
    if told.get("blocked_by"):
        yield f"      waits for {', '.join(told['blocked_by'])}: {', '.join(told['withheld'])}"
    elif told.get("withheld"):
        yield f"      withheld until allowed ({told.get('needs')}): {', '.join(told['withheld'])}"
    for note in told.get("notes") or ():
        yield f"      note: {note}"
