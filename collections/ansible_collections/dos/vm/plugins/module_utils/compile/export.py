# SPDX-License-Identifier: GPL-3.0-or-later
"""The inverse of compile: what hosts hold, said in the site's words, so that the plan of what is said is empty. Pure.

Kind by kind, each after those it stands on. Fields say what they can, an overlay says the rest, and what not even an overlay
can say is named with the reason and left out, never guessed. At the end the whole is compiled and planned against the same
observation: the proof is part of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import DeclarationError, Problem
from ..model.address import Address
from ..model.decode import encode
from ..model.host import HostFacts
from ..model.slice import Permission
from ..model.types import Name
from ..plan.host import libvirts_own, plan_host
from ..plan.plan import Context, Observed, Plan
from ..site.load import load
from ..site.site import KINDS
from .export_domain import export_domain
from .export_network import export_filter, export_network
from .export_storage import export_pool, export_volumes
from .register import Register
from .site import HostState, compile_site

Only = Literal["all", "ours", "unmanaged"]
PROJECT = Name("exported")
ROUNDS = 8  # each takes what the rules of a site are against out of the fields; leaving one out may show the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a host told: its facts, and all that it holds."""

    facts: HostFacts
    observed: Mapping[Address, Observed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The site in plain data, `kind → name → object`, and what must be known of it.

    `left_out` and `notes` are (host, object, sentence). `differing` are those whose plan is not empty although they are
    declared, and `problems` what the rules of a site say against what the hosts really have.
    """

    objects: Mapping[str, Mapping[str, Any]]
    left_out: tuple[tuple[str, str, str], ...]
    notes: tuple[tuple[str, str, str], ...]
    differing: tuple[tuple[str, str, str], ...]
    problems: tuple[str, ...]

    def of_host(self, host: str | None) -> dict[str, dict[str, Any]]:
        """The objects that are on one host alone, or, for `None`, those that are not."""
        found = {
            kind: {name: data for name, data in held.items() if data.get("host") == host}
            for kind, held in self.objects.items()
        }
        return {kind: held for kind, held in found.items() if held}


def export(site: Name, told: Mapping[str, Told], only: Only = "all", project: Name = PROJECT) -> Exported:
    """What the hosts hold, as a site."""
    refusals: dict[tuple[str, str], dict[str, str]] = {}
    for _ in range(ROUNDS):
        register = _registered(site, told, only, project, refusals)
        objects = {
            kind: {str(name): encode(data) for name, data in held.items()} for kind, held in register.held.items()
        }
        if not _learned(refusals, objects, _problems(_variables(site, objects), told)):
            break
    differing, problems = prove(site, objects, told)
    return Exported(
        objects={kind: held for kind, held in objects.items() if held},
        left_out=tuple(register.left_out),
        notes=tuple(register.notes),
        differing=tuple(differing),
        problems=tuple(problems),
    )


def _registered(
    site: Name,
    told: Mapping[str, Told],
    only: Only,
    project: Name,
    refusals: Mapping[tuple[str, str], Mapping[str, str]],
) -> Register:
    register = Register(site=site, hosts=tuple(Name(host) for host in told), project=project, refusals=refusals)
    for host, state in told.items():
        _export_host(register, host, state, list(_chosen(register, host, state.observed, only)))
    return register


def _learned(
    refusals: dict[tuple[str, str], dict[str, str]],
    objects: Mapping[str, Mapping[str, Any]],
    problems: Iterable[Problem],
) -> bool:
    """Remember what the rules of a site have against objects as hosts really have them; whether anything was new."""
    before = {place: dict(held) for place, held in refusals.items()}
    for problem in problems:
        kind, _, rest = problem.path.removeprefix("dos_").partition(".")
        names = [name for name in objects.get(kind, ()) if rest == name or rest.startswith((f"{name}.", f"{name}["))]
        if names:
            name = max(names, key=len)
            refusals.setdefault((kind, name), {})[rest[len(name) :].lstrip(".")] = problem.text
    return refusals != before


def _chosen(register: Register, host: str, observed: Mapping[Address, Observed], only: Only) -> Iterator[Address]:
    """The addresses to be exported, in one order whatever order libvirt lists them in."""
    for address, held in sorted(observed.items()):
        if only != "all" and held.ours != (only == "ours"):
            continue
        if libvirts_own(address):
            continue
        if address.kind == "secret":
            register.leave_out(
                host, address, "its value is never read: declare it in dos_secrets, the value from a vault"
            )
        elif address.kind == "bridge" and held.xml.find("port") is not None:
            register.leave_out(
                host, address, "comes with a card on Open vSwitch that is in a security group: declare that"
            )
        elif address.kind in ("bridge", "gateway"):
            register.leave_out(host, address, "follows from a network's declaration: write what it says there")
        elif not held.persistent:
            register.leave_out(host, address, "is transient: it is gone when it stops, and has no definition to keep")
        else:
            yield address


def _export_host(register: Register, host: str, told: Told, chosen: list[Address]) -> None:
    def each(kind: str, say: Callable[..., None], *more: Any) -> None:
        for address in chosen:
            if address.kind == kind:
                say(register, host, told.observed[address], *more)

    each("pool", export_pool)
    export_volumes(register, host, told.observed, chosen)
    each("nwfilter", export_filter)
    each("network", export_network)
    each("domain", export_domain, told.facts)


def prove(
    site: Name, objects: Mapping[str, Mapping[str, Any]], told: Mapping[str, Told]
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Load, compile and plan against the same observation: what is declared and would change, and what the rules say."""
    variables = _variables(site, objects)
    problems = [str(problem) for problem in _problems(variables, told)]
    try:
        loaded = load(variables, hosts=told, check=False)
        slices = compile_site(loaded, {host: _state(held) for host, held in told.items()}, now=0.0).slices
    except DeclarationError as refused:
        return [], [*problems, *map(str, refused.problems)]
    differing = []
    for host, held in told.items():
        context = Context(
            site=str(site), host=held.facts, permission=Permission(), observed=dict(held.observed), digests={}
        )
        plans = plan_host(slices[host], context)
        differing += [(host, str(plan.address), _says(plan)) for plan in plans if _differs(plan)]
    return differing, problems


def _variables(site: Name, objects: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {"dos_site": str(site), **{f"dos_{kind}": dict(objects.get(kind, {})) for kind in KINDS}}


def _problems(variables: Mapping[str, Any], told: Mapping[str, Told]) -> tuple[Problem, ...]:
    try:
        load(variables, hosts=told)
    except DeclarationError as refused:
        return refused.problems
    return ()


def _state(told: Told) -> HostState:
    # Every machine that is found stays where it was found, ours or not.
    domains = {address.name: True for address in told.observed if address.kind == "domain"}
    volumes = frozenset(address.name for address in told.observed if address.kind == "volume")
    return HostState(facts=told.facts, domains=domains, volumes=volumes)


def _differs(plan: Plan) -> bool:
    return plan.verdict in ("create", "change", "conflict") or bool(plan.pending)


def _says(plan: Plan) -> str:
    changes = [held.change.path for held in (*plan.changes, *plan.pending)]
    return plan.problem or f"{plan.verdict}: {', '.join(changes) or ', '.join(action.words for action in plan.actions)}"
