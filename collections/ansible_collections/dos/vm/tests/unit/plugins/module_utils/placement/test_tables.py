# SPDX-License-Identifier: GPL-3.0-or-later
"""The names that may be declared are the names there are; and hosts never carry what only the controller needs."""

from __future__ import annotations

import ast
from pathlib import Path

import dosvm.module
from dosvm.placement.filters import TABLE as FILTERS
from dosvm.placement.weighers import TABLE as WEIGHERS
from dosvm.site.placement import FILTERS as DECLARABLE_FILTERS
from dosvm.site.placement import INDISPENSABLE
from dosvm.site.placement import WEIGHERS as DECLARABLE_WEIGHERS


def test_what_can_be_declared_is_what_there_is_in_its_order() -> None:
    assert tuple(row.name for row in FILTERS) == DECLARABLE_FILTERS
    assert {row.name: row.multiplier for row in WEIGHERS} == DECLARABLE_WEIGHERS
    assert set(DECLARABLE_FILTERS) >= INDISPENSABLE


def test_every_filter_says_what_it_is_for() -> None:
    for row in (*FILTERS, *WEIGHERS):
        function = row.accept if hasattr(row, "accept") else row.score
        assert function.__doc__, row.name


def test_modules_that_run_on_hosts_never_import_placement() -> None:
    """Ansible ships every file that an import statement names, those inside functions as well."""
    top = Path(str(dosvm.module.__file__)).parent
    waiting, seen = [Path(str(dosvm.module.__file__))], set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                found = (base.with_suffix(".py"), *(base / f"{name.name}.py" for name in node.names))
                waiting += [path for path in found if path.is_file()]
    folders = {file.relative_to(top).parts[0] for file in seen}
    assert "apply.py" in folders
    assert not folders & {"placement", "compile", "site", "intent", "store"}
