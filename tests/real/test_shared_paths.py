# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory that hosts share is proven to be one; each host is a view of this machine's files here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dosvm.errors import ConflictError
from dosvm.image import shared

ROOT = Path(__file__).resolve().parents[2]
MARK = "0123456789abcdef"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system that only one of the hosts has mounted."""
    path = tmp_path / "shared"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "dosvm-test", path], check=True)
    yield path
    if path.is_mount():
        subprocess.run(["umount", path], check=True)


def test_a_note_is_found_by_who_shares_and_goes_again(tmp_path: Path) -> None:
    path = str(tmp_path / "vm" / "pool")  # no host has made it yet
    folder = shared.leave(path, MARK)
    assert folder == str(tmp_path)
    shared.find(path, MARK, folder)
    shared.leave(path, MARK)  # a run that is repeated
    shared.take_away(path, MARK)
    assert list(tmp_path.iterdir()) == []


def test_a_host_where_it_is_not_mounted_is_refused(mounted: Path) -> None:
    path = str(mounted / "pool")
    folder = shared.leave(path, MARK)
    subprocess.run(["umount", mounted], check=True)  # now we are the other host
    with pytest.raises(ConflictError, match=r"not seen here: mount the cluster file system.*POOL-20"):
        shared.find(path, MARK, folder)


def test_a_directory_that_is_full_or_read_only_is_said(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with pytest.raises(ConflictError, match=r"nothing can be written to .*: Read-only file system"):
        shared.leave(str(mounted), MARK)


def test_a_run_stops_at_the_host_where_it_is_not_mounted(tmp_path: Path) -> None:
    # The second host has something else mounted there, and is this machine otherwise.
    shared_folder, python = tmp_path / "fs", tmp_path / "python"
    shared_folder.mkdir()
    command = f'mount -t tmpfs none {shared_folder}; exec {sys.executable} "$@"'
    python.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{command}' sh \"$@\"\n")
    python.chmod(0o755)
    common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"h1": common, "h2": {**common, "ansible_python_interpreter": str(python)}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    play = [
        {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                {
                    "dos.vm.pool_check": {"path": str(shared_folder / "pool"), "mark": MARK, "state": "left"},
                    "register": "left",
                    "run_once": True,
                },
                {
                    "dos.vm.pool_check": {
                        "path": str(shared_folder / "pool"),
                        "mark": MARK,
                        "state": "seen",
                        "folder": "{{ left.folder }}",
                    }
                },
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "hosts.yml", tmp_path / "play.yml"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "is not seen here: mount the cluster file system" in done.stdout
    assert "h1                         : ok=2    changed=0    unreachable=0    failed=0" in done.stdout
