# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook takes its hosts from the inventory's group and the limits, and none of them takes a slip for success."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
PLAYBOOKS = sorted((ROOT / "collections/ansible_collections/dos/vm/playbooks").glob("*.yml"))
GROUPS: dict[str, Any] = {
    "dos_hosts": {"hosts": {"h1": {}, "h2": {}}},
    "databases": {"hosts": {"db": {}}},
}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("limit") / "hosts.yml"
    file.write_text(yaml.safe_dump({"all": {"children": GROUPS}}))
    return file


def validate(inventory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(PLAYBOOK), "-i", str(inventory), "dos.vm.validate", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_asks_only_hosts_of_the_site(playbook: Path) -> None:
    plays = [play for play in yaml.safe_load(playbook.read_text()) if "hosts" in play]
    assert all("dos.vm.asked" in play["hosts"] or playbook.stem == "password" for play in plays)


@pytest.mark.parametrize(
    "options", [(), ("--limit", "h2"), ("-e", "dos_limit=h*:!h1"), ("--limit", "h1,h2", "-e", "dos_limit=h2")]
)
def test_a_limit_is_a_pattern(inventory: Path, options: tuple[str, ...]) -> None:
    done = validate(inventory, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("h2" if options else "h1") in done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-e", "dos_limit=h9"), "dos_limit h9: no host of the site is left: use the name of one, h1, h2"),
        (("--limit", "db"), "--limit db: no host of the site is left"),
        (("--limit", "h1", "-e", "dos_limit=h2"), "dos_limit h2 and --limit h1: no host of the site is left"),
    ],
)
def test_a_limit_that_leaves_no_host_of_the_site_is_an_error(
    inventory: Path, options: tuple[str, ...], told: str
) -> None:
    done = validate(inventory, *options)
    assert done.returncode != 0
    assert told in done.stderr


def test_an_inventory_without_hosts_is_an_error(tmp_path: Path) -> None:
    done = validate(tmp_path / "nosuch")
    assert done.returncode != 0
    assert "the inventory has no host in group dos_hosts" in done.stderr
