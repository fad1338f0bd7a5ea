# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command that a page shows can be typed: a shell reads it, its playbook and target exist, its variables arrive whole."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from ansible.parsing.splitter import parse_kv

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md")))
PLAYBOOKS = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SOURCES = "".join(
    path.read_text()
    for folder in ("playbooks", "plugins", "roles")
    for path in (ROOT / "collections/ansible_collections/dos/vm" / folder).rglob("*.[py]*")
    if path.is_file() and path.suffix in {".py", ".yml"}
)


def commands() -> Iterator[tuple[str, str]]:
    """Page and command, with the lines that continue it."""
    for page in PAGES:
        for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for shown in re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE):
                yield page.name, shown


SHOWN = sorted(set(commands()))


def words(command: str) -> list[str]:
    """Of what is run in the end: `make lab-ctl CMD='…'` is a command around another."""
    found = shlex.split(command, comments=True)
    inner = [word.removeprefix("CMD=") for word in found if word.startswith("CMD=")]
    return shlex.split(inner[0]) if inner else found


def test_there_are_commands_to_look_at() -> None:
    assert len(SHOWN) > 30


@pytest.mark.parametrize(("page", "command"), SHOWN)
def test_a_command_can_be_typed(page: str, command: str) -> None:
    read = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    typed = words(command)
    if typed[:1] == ["make"]:
        assert {word for word in typed[1:] if re.fullmatch(r"[a-z-]+", word)} <= TARGETS
    for playbook in re.findall(r"\bdos\.vm\.([a-z_]+)\b", command) if "ansible-playbook" in typed else ():
        assert playbook in PLAYBOOKS
    given = [word for option, word in pairwise(typed) if option in ("-e", "--extra-vars")]
    for variables in (word for word in given if not word.startswith(("{", "@"))):
        held = parse_kv(variables)
        assert "_raw_params" not in held, f"{variables}: the value is cut at a blank, quote it inside of the word"
        for name in held:
            assert name in SOURCES, f"{name} is read by no playbook, module or role"
