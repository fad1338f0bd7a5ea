# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws of the design, for the cases of `laws/cases/` and for generated pairs of slices, on a host in memory.

Each law is a function of a `Case`; what it says holds for whatever is declared, whatever may be done and whatever else the
host has. `tests/real/test_kill.py` holds the third against libvirt.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count, product

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from law_cases import EVERYTHING, VALUES, Case, cases, exact, state
from slice_strategies import pairs

from dosvm.errors import ConflictError, DosVmError, HypervisorError
from dosvm.hypervisor.fake import FakeHypervisor, Killed
from dosvm.hypervisor.values import with_secrets
from dosvm.model.address import Address
from dosvm.plan.action import Action, CreateVolume, Define, DeleteVolume, ReplaceVolume, Start, Stop, UpdateDevice
from dosvm.plan.disruption import Disruption
from dosvm.plan.plain import plain
from dosvm.plan.plan import Plan
from dosvm.xml.mask import HIDDEN

Law = Callable[[Case], None]


# 1


def it_changes_nothing_the_second_time(case: Case) -> None:
    host = case.host()
    first = case.converge(host)
    assert first.failures == ()
    writes, before = host.writes, exact(host)
    second = case.converge(host)
    assert (second.performed, second.changed, second.failures) == ((), False, ())
    assert host.writes == writes
    assert exact(host) == before


# 2


def it_does_what_the_dry_run_said(case: Case) -> None:
    host = case.host()
    before = exact(host)
    told = case.converge(host, dry_run=True)
    assert host.writes == 0
    assert exact(host) == before
    done = case.converge(host)
    assert told.plans == done.plans
    assert told.changed == done.changed
    assert told.performed == ()
    assert [str(action) for plan in told.plans for action in plan.actions] == list(done.performed)


# 3


def it_survives_a_kill_after_any_action(case: Case) -> None:
    expected, actions = _undisturbed(case)
    for number in range(1, actions + 1):
        host = case.host()
        host.kill_after = number
        with pytest.raises(Killed):
            case.converge(host)
        _converges(case, host, expected)


def it_survives_the_failure_of_any_action(case: Case) -> None:
    expected, actions = _undisturbed(case)
    for number in range(actions):
        host = case.host()
        host.fail_after = number
        assert case.converge(host).failures != ()
        _converges(case, host, expected)


def it_survives_a_kill_in_the_middle_of_any_action(case: Case) -> None:
    """Where a volume is made anew there is always the old one or the new one."""
    expected, actions = _undisturbed(case)
    for number in range(1, actions + 1):
        host = case.host()
        host.kill_within, before = number, _data(host)
        with suppress(Killed):
            case.converge(host)
            continue
        assert before.keys() <= _data(host).keys()
        _converges(case, host, expected)


def _undisturbed(case: Case) -> tuple[dict[str, str], int]:
    host = case.host()
    case.converge(host)
    return state(host), host.writes


def _converges(case: Case, host: FakeHypervisor, expected: dict[str, str]) -> None:
    assert case.converge(host).failures == ()
    _is_in(host, expected)
    assert not case.converge(host).changed


def _is_in(host: FakeHypervisor, expected: dict[str, str]) -> None:
    found = state(host)
    differing = {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
    assert [(found.get(name), expected.get(name)) for name in sorted(differing)] == []


def it_takes_what_another_host_made_meanwhile(case: Case) -> None:
    """Hosts that share a pool plan side by side, and one of them is first."""
    expected, _ = _undisturbed(case)
    host = case.host()
    assert case.converge(Outrun(host)).failures == ()  # type: ignore[arg-type]  # a hypervisor, though not that one
    assert state(host).keys() == expected.keys()
    assert not case.converge(host).changed


class Outrun:
    """A host where another one makes each volume between the plan and the action."""

    def __init__(self, host: FakeHypervisor) -> None:
        self.facts, self.lock, self.observe, self.close = host.facts, host.lock, host.observe, host.close
        self.devices, self.refresh, self.note_volumes, self._host = host.devices, host.refresh, host.note_volumes, host

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        if isinstance(action, CreateVolume):
            before = set(self._host.known)
            self._host.perform(action, secrets)
            self._host.known = before
        self._host.perform(action, secrets)


# 4


def it_touches_nothing_of_others(case: Case) -> None:
    host = case.host()
    case = replace(case, permission=replace(EVERYTHING, data_loss=tuple(map(str, host.observe("dos")))))
    ours = _ours(host)
    before = {name: text for name, text in exact(host).items() if name not in ours}
    with suppress(ConflictError):  # a volume that is made anew and stays open: refused, which touches nothing either
        case.converge(host)
    after = exact(host)
    assert {name: after.get(name) for name in before} == before


def _ours(host: FakeHypervisor) -> set[str]:
    seen = [held for held in host.observe("dos").values() if held.ours]
    return {name for held in seen for name in (str(held.address), f"file {held.info.get('path')}")}


def it_loses_no_data_but_by_name(case: Case) -> None:
    for named in (case.permission.data_loss, ()):
        host = case.host()
        before = _data(host)
        replace(case, permission=replace(EVERYTHING, data_loss=named)).converge(host)
        gone = (DeleteVolume, ReplaceVolume)
        deleted = {str(action.address) for action in host.performed if isinstance(action, gone)}
        assert deleted <= set(named)
        lost = before.keys() - _data(host).keys()
        assert len(lost) <= len(deleted)


def _data(host: FakeHypervisor) -> dict[str, str]:
    """The files; one that is grown is still there, one that is made anew is a deletion above."""
    return {path: xml.findtext("capacity") or "" for path, xml in host.files.items()}


def it_makes_nothing_in_the_place_of_data(case: Case) -> None:
    """A file that goes, whether its pool runs or not, is not made anew, empty; and nothing fails that needs it."""
    made = [held for held in case.host().observe("dos").values() if held.address.kind == "volume" and held.ours]
    for volume, stopped in product(made, (False, True)):
        host = case.host()
        path = volume.info["path"]
        host.files.pop(path)
        host.known.discard(path)
        host.objects[Address("pool", volume.address.name.partition("/")[0])].active = not stopped
        with suppress(ConflictError):
            outcome = replace(case, permission=replace(EVERYTHING, data_loss=())).converge(host)
            assert outcome.failures == ()
        assert path not in host.files


# 9


def it_keeps_secrets(case: Case) -> None:
    case = replace(case, values=SECRETS)
    host = case.host()
    echoing = Echoing(case.host())
    with _logged() as lines:
        texts = [repr(case.converge(host, dry_run=True)), *_told(case, host)]
        texts += _told(case, echoing)  # type: ignore[arg-type]  # a hypervisor, though not that one
    for text in (*texts, *lines):
        for value in SECRETS.values():
            assert value.decode() not in text


def _told(case: Case, host: FakeHypervisor) -> list[str]:
    try:
        outcome = case.converge(host)
    except DosVmError as refused:
        return [str(refused), repr(refused)]
    return [text for plan in outcome.plans for text in _texts(plan)] + [
        str(outcome.performed),
        str(outcome.failures),
        repr(outcome),
        str(outcome),
    ]


def _texts(plan: Plan) -> list[str]:
    actions = [text for action in (*plan.actions, *plan.withheld) for text in (str(action), repr(action))]
    return [str(plan), repr(plan), str(plain(plan)), plan.before, plan.after, *actions]


# Values as they might be, and none of the parts of an XML document or a path.
SECRETS = {name: f"Zq{number}-väl<ue&{name}".encode() for number, name in enumerate(VALUES)}


class Echoing:
    """A host that fails at each action and repeats what it was given."""

    def __init__(self, host: FakeHypervisor) -> None:
        self.facts, self.lock, self.observe, self.close = host.facts, host.lock, host.observe, host.close
        self.devices, self.refresh, self.note_volumes = host.devices, host.refresh, host.note_volumes

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        text = with_secrets(action.xml, secrets) if isinstance(action, Define | UpdateDevice) else ""
        raise HypervisorError(f"try {action}", f"this is no good: {text} {[*map(bytes.decode, secrets.values())]}")


@contextmanager
def _logged() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(record.getMessage())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield lines
    finally:
        root.removeHandler(handler)


# Every plan


def it_plans_what_it_can_account_for(case: Case) -> None:
    told = case.converge(case.host(), dry_run=True)
    for plan in told.plans:
        _accounts(plan, case)


def _accounts(plan: Plan, case: Case) -> None:
    assert plan.disruption == max((action.disruption for action in plan.actions), default=Disruption.NONE)
    assert not set(plan.withheld) & set(plan.actions)
    assert bool(plan.withheld) == bool(plan.needs)
    if plan.verdict == "change" and any(isinstance(action, Define) and not action.anew for action in plan.actions):
        shown = [*plan.changes, *plan.pending]
        assert shown
        assert plan.before != plan.after or all(held.change.after == HIDDEN for held in shown)
    if not case.permission.restart:
        assert not [action for action in plan.actions if _restarts(plan, action)]
    if not case.permission.recreate:
        assert plan.disruption is not Disruption.RECREATE
    names = case.permission.data_loss if plan.address.kind == "domain" else (str(plan.address),)
    if not set(names) & set(case.permission.data_loss):  # a domain is given other data where that which it has is named
        assert plan.disruption < Disruption.DATA_LOSS
    if plan.verdict in ("keep", "left", "unmanaged", "conflict"):
        assert not plan.actions
        assert plan.reason or plan.problem


def _restarts(plan: Plan, action: object) -> bool:
    """Stopping and starting again; to stop for good was declared."""
    starts = any(isinstance(other, Start) for other in plan.actions)
    return isinstance(action, Stop) and starts and plan.disruption is Disruption.RESTART


# Time


def it_goes_on_where_it_ran_out_of_time(case: Case) -> None:
    expected, actions = _undisturbed(case)
    host = case.host()
    ticks = count()
    for _ in range(actions + 1):
        outcome = case.converge(host, seconds=0.0, clock=lambda: float(next(ticks)))
        if not outcome.remaining:
            break
        assert len(outcome.performed) >= 1
    assert not case.converge(host).changed
    _is_in(host, expected)


EXAMPLES = int(os.environ.get("DOSVM_EXAMPLES", "8"))  # for each law; more find more
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # no shrinking: a pair of slices shrinks for minutes

LAWS: list[Law] = [
    it_changes_nothing_the_second_time,
    it_does_what_the_dry_run_said,
    it_survives_a_kill_after_any_action,
    it_survives_a_kill_in_the_middle_of_any_action,
    it_survives_the_failure_of_any_action,
    it_takes_what_another_host_made_meanwhile,
    it_touches_nothing_of_others,
    it_loses_no_data_but_by_name,
    it_makes_nothing_in_the_place_of_data,
    it_keeps_secrets,
    it_plans_what_it_can_account_for,
    it_goes_on_where_it_ran_out_of_time,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_law_holds_for_the_case(case: Case, law: Law) -> None:
    law(case)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(case=pairs())
def test_law_holds_for_generated_slices(law: Law, case: Case) -> None:
    try:
        case.converge(case.host(), dry_run=True)
    except ConflictError:
        return  # nothing was changed, which has its own test
    law(case)
