# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a host answers, the others' run goes on: the host is believed or unreachable, and nothing else is raised.

`DOS_MUTATIONS` is how many answers with several faults are tried; seeds are fixed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from lying import facts
from mutations import looked, mutations, several

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.dos.vm.plugins.action.release import _alive, _elsewhere
from ansible_collections.dos.vm.plugins.action.status import _foreign, _rows
from ansible_collections.dos.vm.plugins.module_utils.compile.placing import situation
from ansible_collections.dos.vm.plugins.module_utils.compile.site import compile_situation
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.site.load import load
from ansible_collections.dos.vm.plugins.plugin_utils.answers import checked
from ansible_collections.dos.vm.plugins.plugin_utils.loads import loads
from ansible_collections.dos.vm.plugins.plugin_utils.metering import running
from ansible_collections.dos.vm.plugins.plugin_utils.report import lines, table
from ansible_collections.dos.vm.plugins.plugin_utils.site import FACTS, host_states

HOSTS = ("h1", "h2")
DECLARED = {
    "dos_projects": {"p": {}},
    "dos_pools": {"data": {"type": "dir", "path": "/srv"}},
    "dos_subnets": {"lan": {"address": "10.1.0.0/24"}},
    "dos_networks": {"lan": {"type": "bridge", "subnet": "lan", "bridge": "b0", "forward_interface": "up0"}},
    "dos_instances": {
        name: {
            "project": "p",
            "memory": "256 MiB",
            "vcpus": 1,
            "host": host,
            "interfaces": [{"network": "lan"}],
            "vms": {name: {}},
        }
        for name, host in (("a", "h1"), ("b", "h2"))
    },
}
SITE = load(DECLARED, hosts=HOSTS)
PLAN = {
    "kind": "domain",
    "name": "a",
    "verdict": "change",
    "origin": "dos_instances.a",
    "disruption": "live",
    "changes": [{"path": "memory", "op": "replace", "before": 1, "after": 2, "disruption": "live"}],
    "pending": [{"path": "memory", "op": "replace", "before": 1, "after": 2, "disruption": "restart"}],
    "actions": ["domain a will be redefined"],
    "withheld": ["domain a will be restarted"],
    "needs": "restart",
    "blocked_by": ["pool data"],
    "reason": "",
    "problem": "",
    "notes": ["note"],
}
FAILURE = {"object": "domain a", "reason": "no"}


def asked(answer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer of `h1` as its controller keeps it, and that with the one of an honest `h2`."""
    got = checked("dos.vm.host", answer)
    return got, {"hostvars": {"h1": {FACTS: got}, "h2": {FACTS: {**looked(facts("h2")), "domains": []}}}}


HONEST = host_states(asked(looked(facts("h1")))[1], HOSTS)


def read(answer: dict[str, Any]) -> str:
    """What the controller does with the answers of `h1` and of an honest `h2`, and how it ended."""
    got, variables = asked(answer)
    states = host_states(variables, HOSTS)
    list(running(variables, HOSTS))
    list(loads(states, variables, at=time.time()))
    table(_rows("h1", got), {"name": "NAME", "addresses": "ADDRESS", "state": "STATE"})
    _foreign(got)
    told = {"h1": got}
    _alive("h1", None, told)
    list(_elsewhere(["a"], told))
    if "h1" not in states:
        assert got["unreachable"]
        assert got["msg"].startswith("the host answers nonsense: ")
        assert got["msg"].isprintable()
        return "unreachable"
    if states == HONEST:
        return "believed"  # what was changed is not acted on
    try:
        compile_situation(situation(SITE, states, now=0.0))
    except DosVmError:
        return "refused"
    return "believed"


def test_an_honest_answer_is_believed() -> None:
    assert read(looked(facts("h1"))) == "believed"


def outcomes(answers: Iterable[dict[str, Any]]) -> set[str]:
    return {read(answer) for answer in answers}


def test_every_field_with_every_nonsense_is_believed_or_makes_the_host_unreachable() -> None:
    assert outcomes(mutations(looked(facts("h1")))) >= {"believed", "unreachable"}


def test_answers_with_several_faults_are_believed_or_make_the_host_unreachable() -> None:
    number = int(os.environ.get("DOS_MUTATIONS", "500"))
    assert "unreachable" in outcomes(several(looked(facts("h1")), number, seed=15))


@pytest.mark.soak
def test_twenty_thousand_answers_with_several_faults() -> None:
    assert "unreachable" in outcomes(several(looked(facts("h1")), 20_000, seed=16))


@pytest.mark.parametrize("failed", [False, True])
def test_plans_with_nonsense_are_shown_or_make_the_host_unreachable(failed: bool) -> None:
    answer = {
        "changed": True,
        "failed": failed,
        "plans": [PLAN],
        "kept": 0,
        "performed": ["x"],
        "failures": [FAILURE],
        "unanswered": [FAILURE],
        "remaining": 0,
        "upcoming": "",
    }
    shown = 0
    for mutated in [answer, *mutations(answer)]:
        got = checked("dos.vm.host", mutated)
        if not got.get("unreachable"):
            shown += len(list(lines({"h1": got.get("plans") or []})))
    assert shown


@pytest.mark.parametrize("field", ["epoch", "orders", "fences"])
def test_a_number_that_the_store_cannot_count_on_from_makes_the_host_unreachable(field: str) -> None:
    answer = looked(facts("h1", fences={"a": 2**62 if field == "fences" else 1}))
    if field == "epoch":
        answer["domains"][0]["epoch"] = str(2**62)
    if field == "orders":
        answer["domains"][0]["orders"]["number"] = 2**62
    assert read(answer) == "unreachable"
