# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases: a folder of `cases/<kind>/` each, with what is declared, what a host has, and the plan as an operator reads it.

`declaration.yml` is missing where nothing is declared any longer, `observed.xml` where there is nothing yet. `live.xml` is
what a running object is, and that there is one says that it runs. `context.yml` says the rest: what the run may do
(`allow`), `secrets` with their values, other objects the host has (`beside`, a slice), its `blocks` that are not blank, and what `Observed` says of the object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from dosvm.apply import converge
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address, KindName, Mark, own_uuid
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import Name
from dosvm.plan.devices import Device
from dosvm.plan.disruption import Disruption
from dosvm.plan.kinds import KINDS, address_of
from dosvm.plan.layers import layers
from dosvm.plan.passwords import referenced
from dosvm.plan.plan import Context, Observed, Plan, PlannedChange
from dosvm.xml.build import parse
from dosvm.xml.secret import digest

CASES = Path(__file__).parent / "cases"
SITE = Name("dos")


@dataclass(frozen=True)
class Case:
    """One folder."""

    folder: Path

    @property
    def kind(self) -> KindName:
        return self.folder.parent.name  # type: ignore[return-value]  # the folders are named for the kinds

    def plan(self) -> Plan:
        kind, declared = KINDS[self.kind], self._declared()
        observed, context = self._host(declared)
        if declared is not None:
            return kind.plan(declared, observed, context)
        assert observed is not None
        return kind.leave(observed, context)

    def _declared(self) -> Any:
        path = self.folder / "declaration.yml"
        if not path.exists():
            return None
        declared = decode(KINDS[self.kind].model, yaml.safe_load(path.read_text()))
        return (
            replace(declared, mark=Mark(site=SITE))
            if self.kind in ("bridge", "gateway", "network", "domain")
            else declared
        )

    def _host(self, declared: Any) -> tuple[Observed | None, Context]:
        more = self.context
        values = {name: value.encode() for name, value in more.get("secrets", {}).items()}
        blocks = {path: Device(path, **told) for path, told in more.get("blocks", {}).items()}
        host = FakeHypervisor(blocks={path: replace(held, holds=tuple(held.holds)) for path, held in blocks.items()})
        converge(decode(Slice, more.get("beside", {})), host, permission=Permission(), secrets=values)
        address = Address(self.kind, more["name"]) if declared is None else address_of(KINDS[self.kind], declared)
        found = host.observe(SITE)
        observed = self._observed(address)
        if observed is not None:
            found[address] = observed
        if self.kind == "domain" and declared is not None:
            found = referenced(found, Slice(domains=(declared,)), values)
        context = Context(
            site=SITE,
            host=host.facts(),
            permission=decode(Permission, more.get("allow", {})),
            observed=found,
            layers=layers(found),
            devices=host.devices(tuple(declared.source.devices) if getattr(declared, "source", None) else ()),
            digests={name: digest(value, own_uuid(SITE, Address("secret", name))) for name, value in values.items()},
        )
        return found.get(address), context

    def _observed(self, address: Address) -> Observed | None:
        xml, live = (
            parse(path.read_text()) if path.exists() else None
            for path in (self.folder / "observed.xml", self.folder / "live.xml")
        )
        if xml is None:
            return None
        told = {"active": live is not None, "ours": True, **self.context.get("observed", {})}
        return Observed(address=address, xml=xml, live=live, **told)

    @property
    def context(self) -> dict[str, Any]:
        path = self.folder / "context.yml"
        return yaml.safe_load(path.read_text()) if path.exists() else {}

    def __str__(self) -> str:
        return f"{self.kind}/{self.folder.name}"


def cases() -> list[Case]:
    return [Case(folder) for folder in sorted(CASES.glob("*/*")) if folder.is_dir()]


def text(plan: Plan) -> str:
    """A plan as an operator reads it."""
    return "".join(f"{line}\n" for line in _lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.address}: {plan.verdict}{_said(plan.disruption)}"
    for line in plan.problem.splitlines():
        yield f"  cannot be: {line}"
    if plan.reason:
        yield f"  {plan.reason}"
    yield from (f"  {_difference(held)}" for held in plan.changes)
    yield from (f"  will be {action.words}{_said(action.disruption)}" for action in plan.actions)
    if plan.pending:
        yield "  waits for the next start:"
        yield from (f"    {_difference(held)}" for held in plan.pending)
    yield from (f"  note: {note}" for note in plan.notes)
    if plan.withheld:
        yield f"  needs {plan.needs} to be:"
        yield from (f"    {action.words}{_said(action.disruption)}" for action in plan.withheld)


def _difference(held: PlannedChange) -> str:
    change = held.change
    match change.op:
        case "add":
            return f"+ {change.path}: {change.after}{_said(held.disruption)}"
        case "remove":
            return f"- {change.path}: {change.before}{_said(held.disruption)}"
        case "replace":
            return f"~ {change.path}: {change.before} → {change.after}{_said(held.disruption)}"


def _said(disruption: Disruption) -> str:
    return f" ({disruption.word})" if disruption else ""
