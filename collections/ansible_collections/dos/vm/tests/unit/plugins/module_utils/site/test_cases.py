# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said about every site of `cases/`. `--regenerate` rewrites it; read the diff you are committing."""

from __future__ import annotations

import inspect
import re

import pytest
from site_cases import Case, cases

from dosvm.site.validate import ADVICE, RULES, Rule

ALL = cases()


@pytest.mark.parametrize("case", ALL, ids=str)
def test_case_is_told_as_expected(case: Case, regenerate: bool) -> None:
    text = "".join(f"{line}\n" for line in case.told())
    file = case.folder / "errors.txt"
    if regenerate:
        file.write_text(text)
    assert file.read_text() == text


@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_problem_names_file_and_line(case: Case) -> None:
    for line in case.told():
        assert line.startswith("warning: ") or re.match(r"[a-z_]+\.yml:\d+: dos_", line), line


@pytest.mark.parametrize("rule", [*RULES, *ADVICE], ids=lambda rule: rule.__name__)
def test_every_rule_names_its_requirement_and_has_a_case(rule: Rule) -> None:
    assert re.match(r"[A-Z]+-T?\d", inspect.getdoc(rule) or ""), f"{rule.__name__} names no requirement"
    assert (ALL[0].folder.parent / rule.__name__).is_dir(), f"no case shows {rule.__name__}"


def test_twelve_errors_are_told_in_one_run() -> None:
    case = next(case for case in ALL if str(case) == "twelve_errors_in_one_run")
    assert len(case.told()) == 12
