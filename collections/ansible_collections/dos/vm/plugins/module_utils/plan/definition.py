# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of planning that every kind shares: whose the object is, what differs, what is withheld, what a removal needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..model.address import Address, own_uuid
from ..xml.build import E, to_text
from ..xml.common import mark_of
from ..xml.compare import Change, compare
from ..xml.mask import masked
from ..xml.merge import merge
from ..xml.normalize import normalize
from ..xml.shape import Shape
from .action import Action, Define, SetAutostart, Start, Stop, Undefine
from .disruption import Disruption
from .plan import Context, Observed, Plan, PlannedChange, Verdict

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


GRACE = 120  # seconds (AMB-32)


@dataclass(frozen=True, slots=True)
class Difference:
    """What one comparison found. `observed` is `None` for an object that does not exist.

    `before` and `after` are texts to be shown, with secrets hidden; what is performed is written from `desired`.
    """

    observed: Element | None
    desired: Element
    changes: tuple[Change, ...]
    shape: Shape

    @property
    def before(self) -> str:
        return "" if self.observed is None else to_text(masked(self.observed, self.shape))

    @property
    def after(self) -> str:
        return to_text(masked(self.desired, self.shape))


def differ(declared: Element, observed: Element | None, shape: Shape, *, ignore: tuple[str, ...] = ()) -> Difference:
    """Compare what we would write with what is there. `ignore` names xpaths that do not count here."""
    wanted = normalize(declared, shape)
    found = None if observed is None else normalize(observed, shape)
    desired = merge(wanted, found, shape)
    changes = () if found is None else tuple(compare(found, desired, shape))
    shown = tuple(change for change in changes if not change.xpath.startswith(ignore))
    return Difference(found, desired, shown, shape)


def definition_of(observed: Observed | None) -> Element | None:
    """The definition on the host, if there is one."""
    return None if observed is None else observed.xml


def with_own_uuid(declared: Element, address: Address, observed: Observed | None, context: Context) -> Element:
    """Mark a new object as ours by its UUID, where libvirt keeps no metadata."""
    if observed is None:
        declared.append(E("uuid", own_uuid(context.site, address)))
    return declared


def classified(
    changes: Iterable[Change], table: Mapping[str, Disruption], otherwise: Disruption
) -> tuple[PlannedChange, ...]:
    """Each change with what it disturbs: the longest row of `table` that begins its xpath decides."""
    return tuple(PlannedChange(change=change, disruption=_row(change.xpath, table, otherwise)) for change in changes)


def _row(xpath: str, table: Mapping[str, Disruption], otherwise: Disruption) -> Disruption:
    steps = xpath.split("/")
    for length in range(len(steps), 0, -1):
        found = table.get("/".join(steps[:length]))
        if found is not None:
            return found
    return otherwise


def foreign(address: Address, difference: Difference, observed: Observed, context: Context) -> Plan | None:
    """The plan for an object that is there and not ours; `None` when it may be treated as ours."""
    if observed.ours or context.permission.adopt:
        return None
    if not difference.changes:
        return Plan(
            address=address, verdict="keep", reason="as declared, and not marked ours (dos_adopt: true marks it)"
        )
    listed = ", ".join(change.path for change in difference.changes[:5])
    problem = (
        f"{address} is on the host, is not ours and differs ({listed}): "
        "rename yours, or write dos_adopt: true to take it over"
    )
    return Plan(address=address, verdict="conflict", problem=problem, before=difference.before, after=difference.after)


def creation(address: Address, difference: Difference, *actions: Action) -> Plan:
    """The plan for an object that does not exist."""
    return Plan(address=address, verdict="create", actions=actions, after=difference.after)


def change(address: Address, difference: Difference, actions: Iterable[Action], **more: object) -> Plan:
    """The plan for one that does: kept when nothing is to be done."""
    listed = tuple(actions)
    verdict: Verdict = "change" if listed or more.get("withheld") else "keep"
    reason = "" if listed or more.get("withheld") else "as declared"
    differs = bool(difference.changes)
    plan = Plan(
        address=address,
        verdict=verdict,
        actions=listed,
        reason=reason,
        before=difference.before if differs else "",
        after=difference.after if differs else "",
    )
    return replace(plan, **more)  # type: ignore[arg-type]  # the fields of Plan, by name


def powered(address: Address, declared_active: bool, declared_autostart: bool, observed: Observed) -> list[Action]:
    """The actions that bring activity and autostart to what is declared."""
    actions: list[Action] = []
    if declared_autostart != observed.autostart:
        actions.append(SetAutostart(address=address, on=declared_autostart))
    if declared_active and not observed.active:
        actions.append(Start(address=address))
    if not declared_active and observed.active:
        actions.append(Stop(address=address, disruption=Disruption.RESTART))
    return actions


def redefined(address: Address, difference: Difference) -> Define:
    """Write the desired definition over the one that is there."""
    return Define(address=address, xml=to_text(difference.desired), anew=difference.observed is None)


def defined_again(address: Address, difference: Difference, observed: Observed) -> list[Action]:
    """The definition, where it differs or is missing: what was undefined while it runs goes with its next stop."""
    if observed.persistent and not difference.changes:
        return []
    return [replace(redefined(address, difference), anew=not observed.persistent)]


def _grace(observed: Observed) -> int:
    """Seconds that a machine gets to power off when its declaration is gone: its mark remembers them."""
    if observed.address.kind != "domain":
        return 0
    remembered = (mark_of(observed.xml) or {}).get("stop_timeout")
    return GRACE if remembered is None else int(remembered)


def removal(observed: Observed, context: Context) -> Plan:
    """What becomes of an object of ours that is no longer declared: nothing until that is allowed (INST-08, AMB-15)."""
    address = observed.address
    actions: list[Action] = []
    if observed.active and address.kind in ("pool", "bridge", "gateway", "network", "domain"):
        actions.append(Stop(address=address, timeout=_grace(observed), disruption=Disruption.RESTART))
    if observed.persistent:  # without a definition it is gone when it stops
        actions.append(Undefine(address=address))
    if not context.permission.prune:
        why = "no longer declared; dos_prune: true removes it"
        return Plan(address=address, verdict="left", withheld=tuple(actions), needs="prune", reason=why)
    return Plan(address=address, verdict="remove", actions=tuple(actions))
