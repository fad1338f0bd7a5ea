# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from a controller to a machine's console: an ssh that carries one port, and ends when nobody uses it any longer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def reached(variables: Mapping[str, Any]) -> list[str] | None:
    """The words of ssh that lead to the host, as Ansible itself would go; `None` where the host is this machine."""
    if variables.get("ansible_connection") == "local":
        return None
    host = variables.get("ansible_host") or variables.get("inventory_hostname")
    user, port, key = (variables.get(f"ansible_{name}") for name in ("user", "port", "ssh_private_key_file"))
    options = [*(["-p", str(port)] if port else []), *(["-i", str(key)] if key else [])]
    return ["ssh", *options, f"{user}@{host}" if user else str(host)]


def commands(
    console: Mapping[str, Any], *, vm: str, uri: str, seconds: int, local: int, ssh: list[str] | None
) -> dict[str, str]:
    """What to type: `tunnel` where one is needed, `viewer` where there is something to look at, and `serial`."""
    serial = ["virsh", "-c", uri, "console", vm]
    # A terminal of its own for the console, and only this command on the host.
    found = {"serial": shlex.join(serial if ssh is None else [ssh[0], "-t", *ssh[1:], shlex.join(serial)])}
    port = console.get("port")
    if not port:
        return found
    address = f"[{console['address']}]" if ":" in str(console["address"]) else str(console["address"])
    if ssh is None:
        return {**found, "viewer": _viewer(str(console["type"]), str(console["address"]), int(port))}
    # ssh goes to the background when the port listens; it ends after the sleep, or with the last connection then.
    way = [ssh[0], "-f", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{local}:{address}:{port}", *ssh[1:]]
    found["tunnel"] = shlex.join([*way, f"sleep {seconds}"])
    return {**found, "viewer": _viewer(str(console["type"]), "127.0.0.1", local)}


def _viewer(kind: str, address: str, port: int) -> str:
    if kind == "spice":
        return shlex.join(["remote-viewer", f"spice://{address}:{port}"])
    return shlex.join(["vncviewer", f"{address}::{port}"])
