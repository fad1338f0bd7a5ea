# SPDX-License-Identifier: GPL-3.0-or-later
"""What can happen to a host, by name, and how it is undone. Nothing is remembered: the state is read from the kernel."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from . import cgroups, net
from .host import Host

SHARED_SERVICE = "system.slice/lab-shared.service"


def cut(host: Host, networks: tuple[str, ...] = ("mgmt",)) -> None:
    """Pulls the cable at the switch: the host itself sees no carrier, its guests keep running."""
    net.plug(host.control, host.name, networks, connected=False)


def join(host: Host, networks: tuple[str, ...] = tuple(net.NETWORKS)) -> None:
    net.plug(host.control, host.name, networks, connected=True)


def deafen(host: Host) -> None:
    """No sshd and no session of it: nothing manages the host any more, and its guests and its networks go on."""
    host.run("sh", "-c", "systemctl kill --signal KILL ssh.service; systemctl stop ssh.service", check=False)


def listen(host: Host) -> None:
    host.run("systemctl", "start", "ssh.service")


def freeze(host: Host) -> None:
    """Every process stands still, guests included, and the network's links stay up: the host looks alive and answers nothing."""
    cgroups.freeze(host.group, True)


def thaw(host: Host) -> None:
    cgroups.freeze(host.group, False)


def slow(host: Host, percent: int = 10) -> None:
    """The whole host shares this much of one processor."""
    cgroups.limit_cpu(host.group, percent)


def fast(host: Host) -> None:
    cgroups.limit_cpu(host.group, None)


def storage_cut(host: Host) -> None:
    """The shared directory hangs, as a network file system does whose server is away; nothing is lost."""
    for pid in _storage(host):
        os.kill(pid, signal.SIGSTOP)


def storage_join(host: Host) -> None:
    for pid in _storage(host):
        os.kill(pid, signal.SIGCONT)


def heal(host: Host) -> None:
    """Undoes whatever is wrong with it; a host that is off is booted by the lab, which knows the others."""
    if host.pid() is None:
        return
    thaw(host)
    fast(host)
    storage_join(host)
    join(host)


def observed(host: Host) -> list[str]:
    """What is wrong with a host, in the words of the faults' names; nothing when it is well."""
    if host.pid() is None:
        return ["off"]
    unplugged = net.unplugged(host.control)
    found = [f"{network} cut" for network in net.NETWORKS if net.port(host.name, network) in unplugged]
    if cgroups.is_frozen(host.group):
        found.append("frozen")
    limit = cgroups.cpu_limit(host.group)
    if limit is not None:
        found.append(f"slow ({limit} %)")
    if any(_is_stopped(pid) for pid in _storage(host)):
        found.append("storage cut")
    return found


def _storage(host: Host) -> set[int]:
    return cgroups.processes(f"{host.group}/{SHARED_SERVICE}")


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False
