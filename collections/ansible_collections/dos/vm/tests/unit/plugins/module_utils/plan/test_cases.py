# SPDX-License-Identifier: GPL-3.0-or-later
"""What each case plans, as text. `--regenerate` rewrites it; read the difference as the operator would."""

from __future__ import annotations

import functools

import pytest
from plan_cases import Case, cases, text

from dosvm.plan.kinds import KINDS
from dosvm.plan.network import LIVE
from dosvm.plan.plan import Plan


@functools.cache
def planned(case: Case) -> Plan:
    return case.plan()


@pytest.mark.parametrize("case", cases(), ids=str)
def test_plan_reads_as_expected(case: Case, request: pytest.FixtureRequest) -> None:
    path = case.folder / "plan.txt"
    if request.config.getoption("--regenerate", default=False):
        path.write_text(text(planned(case)))
    assert text(planned(case)) == path.read_text()


def test_each_kind_is_created_kept_changed_refused_and_removed() -> None:
    verdicts = {(case.kind, planned(case).verdict) for case in cases()}
    for kind in KINDS:
        assert {verdict for named, verdict in verdicts if named == kind} >= {
            "create",
            "keep",
            "change",
            "conflict",
            "remove",
        }


def test_each_live_section_of_a_network_is_added_to_changed_and_relieved() -> None:
    found = {
        (action.section, action.command)
        for case in cases()
        if case.kind == "network"
        for action in planned(case).actions
        if hasattr(action, "section")
    }
    for live in LIVE.values():
        assert (live.section, "add-last") in found
        assert (live.section, "delete") in found
        assert (live.section, "modify") in found or not live.modify
