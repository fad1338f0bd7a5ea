# SPDX-License-Identifier: GPL-3.0-or-later
"""Every key that a module answers is documented: the controller drops all others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"
sys.path.insert(0, str(COLLECTIONS))

from ansible_collections.dos.vm.plugins.plugin_utils.answers import checked, documented
from ansible_collections.dos.vm.plugins.plugin_utils.returned import RETURNED

CALLS: dict[str, dict[str, Any]] = {
    "host": {},
    "host_info": {"health": True},
    "fence": {"epochs": {}},
    "domain_info": {},
    "network_info": {},
}


@pytest.mark.parametrize("name", CALLS)
def test_a_module_answers_what_it_documents(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"ansible_collections.dos.vm.plugins.modules.{name}"],
        input=json.dumps(
            {"ANSIBLE_MODULE_ARGS": {"uri": "test:///default", **CALLS[name], "_ansible_check_mode": True}}
        ),
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(done.stdout)
    assert not answer.get("failed"), answer
    assert set(answer) - set(documented(f"dos.vm.{name}", answer)) == set()
    assert not checked(f"dos.vm.{name}", answer).get("unreachable")


def test_every_module_has_its_row() -> None:
    modules = {path.stem for path in (COLLECTIONS / "ansible_collections/dos/vm/plugins/modules").glob("*.py")}
    actions = {path.stem for path in (COLLECTIONS / "ansible_collections/dos/vm/plugins/action").glob("*.py")}
    assert modules == set(RETURNED) == actions
