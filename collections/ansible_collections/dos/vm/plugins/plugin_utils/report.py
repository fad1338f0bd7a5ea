# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as text for people. What it is given is what the `host` module returned for each host, plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SIGNS = {"create": "+", "change": "~", "remove": "-", "left": "?", "conflict": "!"}
COLOURS = {"create": "green", "change": "yellow", "remove": "red", "left": "purple", "conflict": "red"}
INTERRUPTING = ("restart", "migrate", "recreate", "data_loss")
LONGEST = 72
FEW = 3  # names of a kind that are shown of what is not ours

Line = tuple[str, str | None]  # text and colour
HostPlans = Mapping[str, list[Mapping[str, Any]]]


def lines(hosts: HostPlans) -> Iterator[Line]:
    """The plan of every host that has something to say, then the line that sums it up."""
    for host, plans in hosts.items():
        told = [plan for plan in plans if _is_shown(plan)]
        foreign = [plan for plan in plans if plan["verdict"] == "unmanaged"]
        if told or foreign:
            yield f"host {host}", None
        for plan in told:
            yield from _object(plan)
        if foreign:
            yield f"  · not ours, and never touched: {_listed(foreign)}", "dark gray"
    yield summary(hosts), "bright blue"


def moved(moves: Iterable[Mapping[str, Any]], withheld: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    """The machines that change their hosts, before what becomes of each host."""
    for move in moves:
        yield "→ domain {domain}: {source} → {target}  [migrate]".format_map(move), "yellow"
    for move in withheld:
        yield (
            "→ domain {domain}: {source} → {target}  withheld until allowed (dos_allow: [migrate])".format_map(move),
            "yellow",
        )


def _is_shown(plan: Mapping[str, Any]) -> bool:
    return bool(plan["verdict"] not in ("keep", "unmanaged") or plan.get("pending") or plan.get("notes"))


def _object(plan: Mapping[str, Any]) -> Iterator[Line]:
    sign = SIGNS.get(plan["verdict"], " ")
    colour = COLOURS.get(plan["verdict"])
    origin = f"  ({plan['origin']})" if plan.get("origin") else ""
    yield f"  {sign} {plan['kind']} {plan['name']}{origin}{_note(plan)}", colour
    for change in plan.get("changes", ()):
        yield f"      {_change(change)}  [{change['disruption']}]", None
    for change in plan.get("pending", ()):
        yield f"      {_change(change)}  [pending restart]", "yellow"
    if plan.get("blocked_by"):
        yield f"      blocked: {', '.join(plan['withheld'])}", "yellow"
    elif plan.get("withheld") and plan["verdict"] != "left":
        yield f"      withheld until allowed (dos_allow: [{plan['needs']}]): {', '.join(plan['withheld'])}", "yellow"
    for note in plan.get("notes", ()):
        yield f"      note: {note}", "yellow"


def _listed(plans: Iterable[Mapping[str, Any]]) -> str:
    """Objects by kind, the first few by name: `network default; 100 volumes (a, b, c, …)`."""
    by_kind: dict[str, list[str]] = {}
    for plan in plans:
        by_kind.setdefault(plan["kind"], []).append(plan["name"])
    return "; ".join(
        f"{kind} {', '.join(names)}" if len(names) <= FEW else f"{len(names)} {kind}s ({', '.join(names[:FEW])}, …)"
        for kind, names in sorted(by_kind.items())
    )


def _note(plan: Mapping[str, Any]) -> str:
    text = plan.get("problem") or (plan.get("reason") if plan["verdict"] == "left" or plan.get("withheld") else "")
    return f": {text}" if text else ""


def _change(change: Mapping[str, Any]) -> str:
    before, after = change.get("before"), change.get("after")
    if before is None:
        return f"{change['path']}: {_short(after)} (new)"
    if after is None:
        return f"{change['path']}: {_short(before)} (gone)"
    return f"{change['path']}: {_short(before)} → {_short(after)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def counts(hosts: HostPlans) -> dict[str, int]:
    """What the plans come to, in numbers: objects by verdict, live changes, interruptions, withheld, pending."""
    plans = [plan for held in hosts.values() for plan in held]
    changed = [plan for plan in plans if plan["verdict"] == "change" and plan.get("actions")]
    return {
        "create": _count(plans, "create"),
        "change": len(changed),
        "live": sum(plan["disruption"] in ("live", "hotplug") for plan in changed),
        "remove": _count(plans, "remove"),
        "interruptions": sum(bool(plan.get("actions")) and plan["disruption"] in INTERRUPTING for plan in plans),
        "withheld": sum(_is_withheld(plan) and not plan.get("blocked_by") for plan in plans),
        "blocked": sum(_is_withheld(plan) and bool(plan.get("blocked_by")) for plan in plans),
        "left": _count(plans, "left"),
        "unmanaged": _count(plans, "unmanaged"),
        "conflicts": _count(plans, "conflict"),
    }


def _is_withheld(plan: Mapping[str, Any]) -> bool:
    return bool(plan.get("withheld")) and plan["verdict"] != "left"


def _count(plans: Iterable[Mapping[str, Any]], verdict: str) -> int:
    return sum(plan["verdict"] == verdict for plan in plans)


def summary(hosts: HostPlans) -> str:
    """The last line: `Plan: 3 to create, 1 to change (1 live), 0 to remove; 0 interruptions`."""
    found = counts(hosts)
    live = f" ({found['live']} live)" if found["live"] else ""
    text = f"Plan: {found['create']} to create, {found['change']} to change{live}, {found['remove']} to remove"
    text += f"; {found['interruptions']} interruption{'' if found['interruptions'] == 1 else 's'}"
    words = {"withheld": "withheld", "blocked": "blocked", "left": "no longer declared", "conflicts": "in conflict"}
    rest = [f"{found[name]} {word}" for name, word in words.items() if found[name]]
    return text + (f" ({', '.join(rest)})" if rest else "")


def table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """Rows under their headings, aligned; `columns` maps keys to headings."""
    cells = [list(columns.values()), *([_cell(row.get(key)) for key in columns] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cell(value: object) -> str:
    if value is None or value == []:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
