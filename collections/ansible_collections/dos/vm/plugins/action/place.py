# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.place`: decides which machine runs where, and makes of the site one slice per host. No host is contacted.

What was decided is in the store before any host is changed, so that a host which then falls silent does not let a machine be
placed twice, and of two controllers that place one machine exactly one does.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.admission import contradictions, observed_sizes, on_now
from ansible_collections.dos.vm.plugins.module_utils.compile.advice import not_asked, unlike_members
from ansible_collections.dos.vm.plugins.module_utils.compile.attached import attached
from ansible_collections.dos.vm.plugins.module_utils.compile.gateway import MOVES
from ansible_collections.dos.vm.plugins.module_utils.compile.images import images_by_host, missing_images
from ansible_collections.dos.vm.plugins.module_utils.compile.memory import Memory, Placement
from ansible_collections.dos.vm.plugins.module_utils.compile.placing import Situation, carried_orders
from ansible_collections.dos.vm.plugins.module_utils.compile.promises import (
    reckoned,
    refuse_broken_promises,
    summary,
)
from ansible_collections.dos.vm.plugins.module_utils.compile.shared_paths import notes
from ansible_collections.dos.vm.plugins.module_utils.compile.site import Compiled, compile_situation
from ansible_collections.dos.vm.plugins.module_utils.compile.starts import told as starts_told
from ansible_collections.dos.vm.plugins.module_utils.compile.volumes_elsewhere import (
    HostVolumes,
    unclear_losses,
    with_unreachable_users,
)
from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError, DosVmError, Problem, StoreError
from ansible_collections.dos.vm.plugins.module_utils.intent.power import Order, newer
from ansible_collections.dos.vm.plugins.module_utils.model.decode import encode
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.module_utils.site.usage import Row, Used, rows, used
from ansible_collections.dos.vm.plugins.module_utils.site.usage import summary as summary_of_use
from ansible_collections.dos.vm.plugins.module_utils.store.identity import Registration
from ansible_collections.dos.vm.plugins.module_utils.store.store import Store
from ansible_collections.dos.vm.plugins.plugin_utils.allow import PATH as ALLOW
from ansible_collections.dos.vm.plugins.plugin_utils.allow import allowed
from ansible_collections.dos.vm.plugins.plugin_utils.explain import log
from ansible_collections.dos.vm.plugins.plugin_utils.loads import loads
from ansible_collections.dos.vm.plugins.plugin_utils.metering import running
from ansible_collections.dos.vm.plugins.plugin_utils.placing import situate, told
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.registry import introduced, register, without_foreign
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, host_states
from ansible_collections.dos.vm.plugins.plugin_utils.store import (
    actor,
    moment,
    opened,
    refuse_restored,
    remembered,
    url_of,
)

ROUNDS = 5  # of deciding anew because another controller was faster
display = Display()


class ActionModule(ActionBase):
    """Returns `slices` and `images` by host, `decisions` by machine, and what contradicts what as `findings`."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"failed", "told", "generation", "prune"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        write, began = not self._task.check_mode, time.monotonic()
        display.v("placement: begins")
        try:
            reader = SiteReader(self._templar, variables)
            site = reader.load(check=False)
            url = url_of(self._templar, variables, site.name, site.hosts)
            who = actor(self._templar, variables)
            with opened(url, site.name, write=write) as store:
                before = None if store is None else store.used.read()
                decided, compiled, known, kept = _decided(
                    reader,
                    site,
                    variables,
                    store,
                    who,
                    before,
                    write=write,
                    moves=self._moves(variables),
                    wish={**self._task.args, "losses": self._losses(variables)},
                )
                since = {} if store is None else store.pending.since()
                ended = moment(store)
                state = store.lineage.known() if store is not None and write and kept.claimed else None
        except _Stale as late:
            return {
                **result,
                "changed": False,
                "stale": True,
                **asdict(late.kept),
                "taken": {},
                "decisions": {},
                "waves": [],
                "foreign": {},
            }
        except DosVmError as error:
            return {**result, **refused(error, read=True)}
        for line in () if self._task.args.get("told") else summary_of_use(_usage(decided, before)):
            display.display(line)
        for sentence in log(decided, compiled.placements, time.monotonic() - began) if display.verbosity else ():
            display.v(sentence)
        lost, pending = reckoned(decided), decided.pending()
        for sentence in _overdue(pending, since, site.monitoring.pending, ended):
            display.warning(sentence)
        for sentence in not_asked(decided):
            display.display(sentence, color="yellow")
        elsewhere = decided.elsewhere
        for made in compiled.decisions.values():
            if (made.host is None or made.refusals) and made.vm not in elsewhere:
                display.display(f"{made.vm} {made.reason}", color="red")
            for host, why in made.refusals.items() if made.vm in (self._task.args.get("failed") or {}) else ():
                display.display(f"  {host}: {why}", color="red")
        for vm, why in decided.handovers.blocked.items():
            display.display(f"{vm} is not started: {why}", color="red")
        for sentence in () if write else starts_told(compiled.waves):
            display.display(sentence)
        for vm, on in compiled.ordered.items():
            display.display(f"{vm} is {'on' if on else 'off'} by order, and declared otherwise", color="yellow")
        for sentence in compiled.untold:
            display.warning(sentence)
        for text in (*compiled.findings, *known.findings, *known.foreign.values()):
            display.display(text, color="red")
        for sentence in unlike_members(decided):
            display.warning(sentence)
        for text, good in summary(lost):
            display.display(text, color=None if good else "yellow")
        for name, carrier in compiled.gateways.items():
            if carrier.host is None:
                display.display(f"gateway of {name} {carrier.reason}", color="red")
        return {
            **result,
            "changed": False,
            "stale": False,
            **asdict(kept),
            "ordered": {vm: "on" if on else "off" for vm, on in compiled.ordered.items()},
            "shared": {"mark": secrets.token_hex(8), "paths": notes(site)},
            "images": {host: [encode(file) for file in files] for host, files in images_by_host(site).items()},
            # For show everything is started at once: the order is told in words.
            "slices": {
                host: encode(replace(held, store=state) if write else replace(held, waits=()))
                for host, held in compiled.slices.items()
            },
            "waves": [wave.plain() for wave in compiled.waves],
            "losses": [dataclasses.asdict(loss) for loss in lost if loss.homeless],
            "decisions": {
                str(vm): {"host": _plain(made.host), "target": _plain(made.target), "reason": str(made.reason)}
                for vm, made in compiled.decisions.items()
            },
            "pending": {vm: {"since": since.get(vm), "reason": why} for vm, why in pending.items()},
            "taken": {
                str(host): {str(vm): epoch for vm, epoch in epochs.items()} for host, epochs in compiled.taken.items()
            },
            "foreign": {str(host): why for host, why in known.foreign.items()},
            "findings": [*compiled.findings, *known.findings, *known.foreign.values()],
            "errors": list(compiled.errors),
            "waiting": [
                {"vm": str(vm), "reason": why, "since": since.get(vm)} for vm, why in decided.waiting().items()
            ],
            "unmoved": [
                {"vm": str(vm), "host": _plain(decided.decisions[vm].host), "reason": why}
                for vm, why in decided.unmoved().items()
            ],
            "gateways": [
                {"network": str(name), "host": _plain(carrier.host), "reason": carrier.reason}
                for name, carrier in compiled.gateways.items()
            ],
            "not_asked": sorted(decided.unasked),
        }

    def _losses(self, variables: dict[str, Any]) -> list[str]:
        """The objects whose data `dos_allow` lets go, by name."""
        return list(allowed(self._templar.template(variables.get(ALLOW) or [])).get("data_loss") or ())

    def _moves(self, variables: dict[str, Any]) -> dict[str, str]:
        """Where gateways are to go, by network."""
        held = self._templar.template(variables.get(MOVES) or {})
        return {str(name): str(host) for name, host in held.items()}


def _usage(decided: Situation, before: Used | None) -> list[Row]:
    """What projects use, with what runs though it is not intended or declared."""
    observed = observed_sizes(decided.site, decided.machines, decided.states)
    return rows(decided.site, before, on_now(decided), (*decided.counted, *attached(decided)), observed)


def _overdue(pending: Mapping[str, str], since: Mapping[str, float], patience: int, now: float) -> Iterator[str]:
    """The machines that have been without a host for long, with the reason (SCHED-13)."""
    for vm, why in pending.items():
        waited = int(now - since.get(vm, now))
        if vm in since and waited >= patience:
            yield f"{vm} has been waiting for {datetime.timedelta(seconds=waited)}: {why}"


def _plain(name: str | None) -> str | None:
    """A name as Ansible keeps it, which knows no types of ours."""
    return None if name is None else str(name)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Whether the decisions are in the store, and how far placements had come with them."""

    claimed: bool
    generation: int


class _Stale(Exception):
    """Placements have changed since the hosts were read: a machine may have come to one that did not have it then."""

    def __init__(self, generation: int) -> None:
        super().__init__(generation)
        self.kept = _Kept(False, generation)


def _decided(
    reader: SiteReader,
    site: Site,
    variables: Mapping[str, Any],
    store: Store | None,
    who: str,
    before: Used | None,
    *,
    write: bool,
    moves: Mapping[str, str],
    wish: Mapping[str, Any],
) -> tuple[Situation, Compiled, Registration, _Kept]:
    """The decisions, kept in the store, and what must be known of the hosts.

    They are made anew where another controller placed one of the machines meanwhile. Who says which hosts were `told` what
    is taken from them has nothing kept before all of them were. Raises `_Stale`.
    """
    answers = host_states(told(variables, site.hosts), site.hosts)
    refuse_restored(store, answers, site.name)
    for _ in range(ROUNDS):
        now = moment(store)
        held = remembered(store)
        kept = held.memory
        hosts = introduced(store, answers, kept)
        states = without_foreign(answers, hosts)
        if hosts.foreign and not states:
            raise DeclarationError(Problem("", why) for why in hosts.foreign.values())
        generation = kept.generation
        if store is not None and write and wish.get("generation") not in (None, generation):
            raise _Stale(generation)
        memory = replace(kept.renamed(hosts.renamed), foreign=frozenset(hosts.foreign))
        decided = situate(
            site,
            variables,
            failed=wish.get("failed"),
            held=replace(held, memory=memory),
            states=states,
            prune=boolean(wish.get("prune", False)),
        )
        reader.refuse(contradictions(decided, before))
        compiled = compile_situation(decided, moves=moves)
        reader.refuse(missing_images(site, compiled.slices, states))
        compiled = _with_losses(decided, compiled, losses) if (losses := wish.get("losses")) else compiled
        if not decided.unasked:  # of a part of the site nobody knows what it survives
            refuse_broken_promises(decided)
        if store is None or not write:
            return decided, compiled, hosts, _Kept(True, generation)
        if wish.get("told") is not None and not _all_told(compiled.taken, wish["told"]):
            return decided, compiled, hosts, _Kept(False, generation)
        changes = [*compiled.placements, *_renamed(kept, hosts.renamed, compiled.placements)]
        unreachable = frozenset(map(str, site.hosts)) - frozenset(states)
        if not store.placements.claim(kept.placements, changes, at=now, actor=who, unreachable=unreachable):
            register(store, hosts)
            carried = newer(held.orders, carried_orders(states, memory))
            store.orders.learn(carried)
            store.orders.override(_ended((*held.orders, *carried), decided), actor=who)
            store.orders.forget(_gone(changes, decided))
            if not decided.unasked:
                store.used.keep(used(site, decided.intent, decided.counted), at=now)
            store.runs.sample(running(variables, site.hosts), states, at=now)
            store.pending.keep(decided.pending(), at=now, untouched=decided.undecided)
            store.loads.sample(loads(states, variables, at=now), every=site.monitoring.history)
            before = (kept.placements.get(one.vm) for one in changes)
            grown = sum(one.epoch for one in changes) - sum(one.epoch for one in before if one is not None)
            return decided, compiled, hosts, _Kept(True, generation + grown)
    raise StoreError(
        "place the machines", "others placed the same ones again and again; run this again", retryable=True
    )


def _ended(orders: Iterable[Order], decided: Situation) -> list[Order]:
    """Releases of the overrides that were given against another declaration: it must not bring them back later."""
    declared = {str(machine.name): machine.declared_on for machine in decided.machines}
    newest = {one.vm: one for one in sorted(orders, key=lambda one: one.number) if one.vm in declared}
    return [
        Order(vm=vm, on=None)
        for vm, one in sorted(newest.items())
        if one.on is not None and one.against not in (None, declared[vm])
    ]


def _gone(changes: Iterable[Placement], decided: Situation) -> list[str]:
    """The VMs that are neither declared nor anywhere any more."""
    return [change.vm for change in changes if change.host is None and change.vm not in decided.decisions]


def _with_losses(decided: Situation, compiled: Compiled, losses: Iterable[str]) -> Compiled:
    """What was decided, for a run that may lose data. Raises `DeclarationError` for volumes that more than one host has."""
    volumes = HostVolumes(
        site=decided.site,
        slices=compiled.slices,
        by_host=compiled.machines,
        states=decided.states,
        recall=decided.recall,
    )
    if problems := list(unclear_losses(volumes, losses)):
        raise DeclarationError(problems)
    return replace(compiled, slices=with_unreachable_users(volumes))


def _all_told(taken: Mapping[str, Mapping[str, int]], told: Mapping[str, Mapping[str, int]]) -> bool:
    return all(told.get(host, {}).get(vm, 0) >= epoch for host, epochs in taken.items() for vm, epoch in epochs.items())


def _renamed(kept: Memory, names: Mapping[str, str], changed: Iterable[Placement]) -> Iterator[Placement]:
    """The placements that are to be kept under a host's new name, as far as they do not change otherwise."""
    others = {placement.vm for placement in changed}
    for vm, placement in kept.renamed(names).placements.items():
        if vm not in others and placement != kept.placements[vm]:
            yield placement
