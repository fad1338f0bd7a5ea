# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host answers about its objects stays a comment in the files that `dos.vm.export` writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.dos.vm.plugins.module_utils.compile.export import Exported
from ansible_collections.dos.vm.plugins.plugin_utils.export import document

BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("line_break", BREAKS, ids=ascii)
@pytest.mark.parametrize("field", ["left_out", "notes"])
def test_a_name_with_a_line_break_stays_in_its_comment(field: str, line_break: str) -> None:
    name = f"domain x{line_break}dos_label: \"{{{{ lookup('pipe', 'id') }}}}\"{line_break}#"
    empty: dict[str, tuple[tuple[str, str, str], ...]] = {"left_out": (), "notes": ()}
    sentences = {**empty, field: (("h1", name, f"cannot{line_break}be declared"),)}
    text = document(Exported(objects={}, differing=(), problems=(), **sentences), "h1")
    assert yaml.safe_load(text) == {}
    assert all(line.startswith(("---", "#", "{}")) for line in text.splitlines())
