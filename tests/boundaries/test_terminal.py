# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts and guests answer reaches the operator's terminal in printable characters alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"
sys.path.insert(0, str(COLLECTIONS))

from ansible_collections.dos.vm.plugins.plugin_utils.report import lines
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display, safe

PLUGINS = COLLECTIONS / "ansible_collections/dos/vm/plugins"
HOSTILE = ["\x1b[2J\x1b]0;owned\x07", "\x9b2J", "\u202egnp.exe", "a\u200bb", "\u2028", "\r", "\x85"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_name_in_a_plan_is_shown_escaped(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {"kind": "domain", "name": f"x{text}", "verdict": "create", "disruption": "none", "notes": [text]}
    for line, color in lines({"h1": [plan]}):
        Display().display(line, color=color)
    shown = capsys.readouterr().out
    assert "domain x" in shown
    assert text not in shown.replace("\n", "")


def test_line_breaks_and_tabs_of_ours_stay() -> None:
    assert safe("a\tb\nc → d") == "a\tb\nc → d"


def test_everything_is_shown_in_one_way() -> None:
    texts = {path.name: path.read_text() for path in PLUGINS.rglob("*.py")}
    assert [name for name, text in texts.items() if "ansible.utils.display" in text] == ["shown.py"]
