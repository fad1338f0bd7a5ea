# SPDX-License-Identifier: GPL-3.0-or-later
"""What module `dos.vm.host` is made of is worked out once, not in every run (docs/design/0009)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
PLAY = [{"hosts": "all", "gather_facts": False, "tasks": [{"dos.vm.host": {"uri": "test:///default"}}]}]
SOURCE = ROOT / "collections/ansible_collections/dos/vm/plugins/plugin_utils/payload.py"
FOUND = "ANSIBALLZ: using cached module"
MADE = "ANSIBALLZ: Creating module"


@pytest.fixture
def look(tmp_path: Path):
    """One run of Ansible that looks at libvirt's test driver: what it said, in detail."""
    play = tmp_path / "play.yml"
    play.write_text(json.dumps(PLAY), encoding="utf-8")

    def run() -> str:
        done = subprocess.run(
            [PLAYBOOK, "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", play],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_DEBUG": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "failed=0" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return run


def kept(home: Path) -> list[Path]:
    return [path for path in (home / "dos.vm/payload/host").rglob("*") if path.is_file()]


def test_the_second_run_finds_what_the_first_one_made(look, tmp_path):
    assert MADE in look()
    (payload,) = kept(tmp_path / "home")
    assert payload.parent.stat().st_mode & 0o077 == 0
    second = look()
    assert FOUND in second
    assert MADE not in second


def test_a_payload_of_other_files_is_not_used(look, tmp_path):
    look()
    (payload,) = kept(tmp_path / "home")
    payload.parent.rename(payload.parent.with_name("0" * 64))
    assert MADE in look()
    assert len(kept(tmp_path / "home")) == 2


def test_what_somebody_else_could_have_written_is_not_used(look, tmp_path):
    look()
    (payload,) = kept(tmp_path / "home")
    payload.parent.chmod(0o777)
    assert MADE in look()


def test_a_changed_file_is_another_payload(monkeypatch, tmp_path):
    spec = spec_from_file_location("payload", SOURCE)
    payload = module_from_spec(spec)
    spec.loader.exec_module(payload)
    plugins = tmp_path / "plugins"
    for name in ("module_utils/model/network.py", "modules/host.py"):
        (plugins / name).parent.mkdir(parents=True)
        (plugins / name).write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(payload, "PLUGINS", plugins)
    seen = {payload._digest("host")}
    for name in ("module_utils/model/network.py", "modules/host.py"):
        (plugins / name).write_text("x = 12\n", encoding="utf-8")
        seen.add(payload._digest("host"))
    assert len(seen) == 3
