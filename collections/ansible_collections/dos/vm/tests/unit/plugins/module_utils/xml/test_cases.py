# SPDX-License-Identifier: GPL-3.0-or-later
"""What each case expects: the XML that is declared, the XML that is desired, the changes. `--regenerate` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest
from lens_cases import Case, cases

from dosvm.xml.build import to_text
from dosvm.xml.compare import Change


def line(change: Change) -> str:
    before, after = change.before, change.after
    match change.op:
        case "add":
            return f"+ {change.path}: {after}\n"
        case "remove":
            return f"- {change.path}: {before}\n"
        case "replace":
            return f"~ {change.path}: {before} → {after}\n"


def expect(path: Path, text: str, regenerate: bool) -> None:
    if regenerate:
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("case", cases(), ids=str)
def test_case_is_as_expected(case: Case, regenerate: bool) -> None:
    expect(case.folder / "declared.xml", to_text(case.lens.render(case.declaration)), regenerate)
    if case.observed is not None:
        expect(case.folder / "desired.xml", to_text(case.desired), regenerate)
        expect(case.folder / "changes.txt", "".join(map(line, case.changes)) or "as declared\n", regenerate)
