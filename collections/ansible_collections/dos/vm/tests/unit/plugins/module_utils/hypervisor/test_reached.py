# SPDX-License-Identifier: GPL-3.0-or-later
"""One libvirtd has one key, whatever the spelling of the URI; two have two."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path

import pytest

from dosvm.hypervisor.reached import reached

NAME = socket.gethostname()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("libvirt-sock", "virtqemud-sock", "other-sock"):
        (tmp_path / name).touch()
    (tmp_path / "link-sock").symlink_to("libvirt-sock")
    os.link(tmp_path / "virtqemud-sock", tmp_path / "hard-sock")
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "hostname"),
    [
        ("qemu+unix:///system", ""),
        ("qemu:///system?socket={run}/libvirt-sock", ""),
        ("qemu+unix:///system?socket={run}/link-sock", ""),
        ("qemu+unix:///system?mode=direct&socket={run}/hard-sock", ""),
        ("qemu+ssh://localhost/system", ""),
        ("qemu+tcp://127.0.0.1/system", ""),
        ("qemu+tcp://[::1]/system", ""),
        (f"qemu+tls://{NAME}/system", ""),
        ("qemu+ssh://root@alias-in-ssh-config/system", NAME),
    ],
)
def test_another_spelling_is_the_same_libvirtd(run: Path, uri: str, hostname: str) -> None:
    assert reached(uri.format(run=run), hostname, run).key == reached("qemu:///system", run=run).key


def test_other_libvirtds_have_keys_of_their_own(run: Path) -> None:
    uris = {
        "qemu:///system": "", "qemu:///session": "", f"qemu:///system?socket={run}/other-sock": "",
        "qemu+ssh://h1/system": "h1", "qemu+ssh://h2/system": "h2", "qemu+ssh://h1/session": "h1",
        "test:///default": "", f"test://{run}/node.xml": "",
    }  # fmt: skip
    assert len({reached(uri, hostname, run).key for uri, hostname in uris.items()}) == len(uris)


def test_two_names_of_another_host_are_one_by_what_it_is_called(run: Path) -> None:
    uris = ("qemu+ssh://h1/system", "qemu+ssh://h1.example/system", "qemu+tls://10.0.0.1/system")
    assert len({reached(uri, "h1", run).key for uri in uris}) == 1


@pytest.mark.parametrize(
    ("mode", "group"), [(0o777, grp.getgrnam("libvirt").gr_gid), (0o770, os.getgid()), (0o700, -1)]
)
def test_the_users_of_the_socket_are_those_of_the_lock(run: Path, mode: int, group: int) -> None:
    """A socket that lets everybody in is guarded by polkit."""
    (run / "libvirt-sock").chmod(mode)
    found = reached("qemu:///system", run=run)
    assert (found.group, found.mode) == (group, 0o600 if group < 0 else 0o660)
    assert (found.admits(65534), found.admits(0)) == (False, True)
