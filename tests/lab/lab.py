#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with libvirt and sshd of their own, on this machine, in namespaces. docs/lab.md tells what they are good for.

tests/lab/lab.py up [-n 3]                  tests/lab/lab.py shell h1 [COMMAND …]
tests/lab/lab.py status                     tests/lab/lab.py ctl COMMAND …       where the hosts can be reached
tests/lab/lab.py crash h2; … boot h2        tests/lab/lab.py down
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from namespaces import faults, inventory, locks, ready
from namespaces.errors import LabError
from namespaces.group import TREE
from namespaces.host import ENVIRONMENT
from namespaces.lab import FOLDERS, Lab, names_up
from namespaces.program import Program

#: Faults that need no more than the host's name.
FAULTS: dict[str, tuple[Callable[..., None], str]] = {
    "freeze": (faults.freeze, "every process stands still; the links stay up"),
    "thaw": (faults.thaw, "and goes on"),
    "fast": (faults.fast, "all the processor time there is"),
    "storage-cut": (faults.storage_cut, "/srv/shared hangs"),
    "storage-join": (faults.storage_join, "and answers again"),
    "join": (faults.join, "plug all cables in"),
}


def up(lab: Lab, options: argparse.Namespace) -> None:
    for reason in ready.missing(FOLDERS):
        raise LabError(reason)
    started = time.monotonic()
    lab.up(options.hosts, options.share, options.lock_manager)
    names = ", ".join(f"{host.name} {host.address}" for host in lab.hosts())
    print(f"lab {lab.name} is up in {time.monotonic() - started:.1f} s: {names}")


def status(lab: Lab, options: argparse.Namespace) -> None:
    """Exit status 1 when a host is not well or there is none, for scripts."""
    lines = [(host, faults.observed(host)) for host in lab.hosts()]
    for host, wrong in lines:
        print(f"{host.name:6} {host.address:14} pid {host.pid() or '-':<8} {', '.join(wrong) or 'well'}")
    if not lines:
        print(f"lab {lab.name} is not up")
    sys.exit(bool(not lines or any(wrong for _, wrong in lines)))


def shell(lab: Lab, options: argparse.Namespace) -> None:
    host = lab.host(options.host)
    command = host.command(*options.command)
    host.join()
    os.execvpe(command[0], command, ENVIRONMENT)


def ctl(lab: Lab, options: argparse.Namespace) -> None:
    lab.enter_control()
    # The programs of the tree first, as in an activated virtual environment: `ctl ansible-playbook …`.
    os.environ["PATH"] = f"{TREE / '.venv' / 'bin'}:{os.environ['PATH']}"
    if shutil.which(options.command[0]) is None:
        raise LabError(f"{options.command[0]} is not installed")
    os.execvp(options.command[0], options.command)


def show_inventory(lab: Lab, options: argparse.Namespace) -> None:
    text = inventory.render(lab, options.hosts)
    if options.output:
        options.output.write_text(text)
    else:
        print(text, end="")


def fault(lab: Lab, options: argparse.Namespace) -> None:
    FAULTS[options.action][0](lab.host(options.host))


def slow(lab: Lab, options: argparse.Namespace) -> None:
    faults.slow(lab.host(options.host), options.percent)


def cut(lab: Lab, options: argparse.Namespace) -> None:
    faults.cut(lab.host(options.host), tuple(options.networks))


def crash(lab: Lab, options: argparse.Namespace) -> None:
    lab.host(options.host).crash()


def boot(lab: Lab, options: argparse.Namespace) -> None:
    lab.boot(options.host)


def heal(lab: Lab, options: argparse.Namespace) -> None:
    faults.heal(lab.host(options.host))
    lab.boot(options.host)


def program() -> Program[Lab]:
    made_of = Program(Lab, __doc__)
    action = made_of.action
    made = action("up", up, "make the lab, or boot what is off")
    made.add_argument("-n", "--hosts", type=int, default=3)
    made.add_argument("--share", type=Path, nargs="*", default=[], metavar="FILE", help="to /srv/shared/images of all")
    made.add_argument("--lock-manager", choices=sorted(locks.MANAGERS), help="of all hosts, so at the first up (none)")
    made_of.down(names_up)
    action("status", status, "how each host is")
    made = action("inventory", show_inventory, "the hosts for Ansible")
    made.add_argument("-n", "--hosts", type=int, default=3)
    made.add_argument("-o", "--output", type=Path)
    action("ctl", ctl, "run a command where the hosts can be reached").add_argument("command", nargs=argparse.REMAINDER)
    made = action("shell", shell, "a shell or a command on a host's console")
    made.add_argument("host")
    made.add_argument("command", nargs=argparse.REMAINDER)
    for name, (_, text) in FAULTS.items():
        action(name, fault, text).add_argument("host")
    made = action("slow", slow, "leave it little processor time")
    made.add_argument("host")
    made.add_argument("percent", type=int, nargs="?", default=10, help="of one processor (default 10)")
    made = action("cut", cut, "pull a cable")
    made.add_argument("host")
    made.add_argument("networks", nargs="*", default=["mgmt"], metavar="mgmt|data")
    action("crash", crash, "power loss; the disk stays").add_argument("host")
    action("boot", boot, "switch it on again").add_argument("host")
    action("heal", heal, "undo every fault").add_argument("host")
    return made_of


if __name__ == "__main__":
    sys.exit(program().main())
