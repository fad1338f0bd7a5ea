# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that lead to a console: what a shell would be given, word by word."""

from __future__ import annotations

import shlex
from typing import Any

from dosvm.compile.visit import commands, reached

URI = "qemu:///system"


def way(ssh: list[str] | None, **console: Any) -> dict[str, list[str]]:
    told = {"type": "vnc", "address": "127.0.0.1", "port": 5900, **console}
    found = commands(told, vm="web-1", uri=URI, seconds=60, local=4000, ssh=ssh)
    return {what: shlex.split(command) for what, command in found.items()}


def test_ssh_goes_where_ansible_goes() -> None:
    assert reached({"ansible_connection": "local"}) is None
    assert reached({"inventory_hostname": "h1"}) == ["ssh", "h1"]
    said = {
        "ansible_host": "10.0.0.1",
        "ansible_user": "ann",
        "ansible_port": 2222,
        "ansible_ssh_private_key_file": "/k",
    }
    assert reached(said) == ["ssh", "-p", "2222", "-i", "/k", "ann@10.0.0.1"]


def test_a_tunnel_carries_one_port_and_ends() -> None:
    found = way(["ssh", "h1"])
    assert found["tunnel"][-2:] == ["h1", "sleep 60"]
    assert found["tunnel"][found["tunnel"].index("-L") + 1] == "127.0.0.1:4000:127.0.0.1:5900"
    assert found["viewer"] == ["vncviewer", "127.0.0.1::4000"]
    assert found["serial"] == ["ssh", "-t", "h1", f"virsh -c {URI} console web-1"]


def test_an_address_of_ipv6_is_in_brackets() -> None:
    tunnel = way(["ssh", "h1"], address="::1")["tunnel"]
    assert "127.0.0.1:4000:[::1]:5900" in tunnel


def test_on_the_host_itself_no_tunnel_is_needed() -> None:
    assert way(None) == {
        "viewer": ["vncviewer", "127.0.0.1::5900"],
        "serial": ["virsh", "-c", URI, "console", "web-1"],
    }
    assert way(None, type="spice")["viewer"] == ["remote-viewer", "spice://127.0.0.1:5900"]


def test_without_a_remote_console_there_is_the_serial_one() -> None:
    assert set(way(["ssh", "h1"], port=0)) == {"serial"}
