#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel that has what this machine's own may lack, as a process. docs/kernel.md tells what it is good for.

tests/kernel/kernel.py run COMMAND …     in a kernel that is up, or in one that is booted for it and ends with it
tests/kernel/kernel.py up [-n 2]         tests/kernel/kernel.py shell [k1]
tests/kernel/kernel.py status            tests/kernel/kernel.py down

With LAB=tcg in the environment it is an emulated machine with Debian's cloud kernel: slower, and it has what the other lacks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
from kernels import ready
from kernels.lab import Kernels, names_up
from namespaces.errors import LabError
from namespaces.program import Program


def up(kernels: Kernels, options: argparse.Namespace) -> None:
    for reason in ready.missing(kernels.kind):
        raise LabError(reason)
    started = time.monotonic()
    kernels.up(options.kernels)
    names = ", ".join(f"{each.name} {each.address}" for each in kernels.kernels())
    print(f"{kernels.name} is up in {time.monotonic() - started:.1f} s: {names}", file=sys.stderr)


def run(kernels: Kernels, options: argparse.Namespace) -> None:
    if not options.command:
        raise LabError("run what?")
    fresh = not kernels.kernels()
    try:
        if fresh:
            up(kernels, options)
        command = kernels.command(options.on, *options.command)
        status = subprocess.run(command, preexec_fn=kernels.enter_control, check=False).returncode
    finally:
        if fresh:
            kernels.down()
    sys.exit(status)


def shell(kernels: Kernels, options: argparse.Namespace) -> None:
    if not kernels.kernels():
        up(kernels, options)
    command = kernels.command(options.on, tty=True)
    kernels.enter_control()
    os.execvp(command[0], command)


def crash(kernels: Kernels, options: argparse.Namespace) -> None:
    kernels.kernel(options.on).crash()


def boot(kernels: Kernels, options: argparse.Namespace) -> None:
    kernels.boot(options.on)


def status(kernels: Kernels, options: argparse.Namespace) -> None:
    """Exit status 1 when one is off or there is none, for scripts."""
    found = kernels.kernels()
    for each in found:
        print(f"{each.name:6} {each.address:14} {'pid ' + str(each.pid()) if each.pid() else 'off'}")
    if not found:
        print(f"{kernels.CALLED} {kernels.name} is not up")
    sys.exit(not found or any(each.pid() is None for each in found))


def program() -> Program[Kernels]:
    made_of = Program(Kernels, __doc__)
    made_of.parser.add_argument("-n", "--kernels", type=int, default=1, help="how many, on one bridge")
    made = made_of.action("up", up, "boot what is off")
    made.add_argument("-n", "--kernels", type=int, default=argparse.SUPPRESS)
    made = made_of.action("run", run, "a command in one of them, in this tree")
    made.add_argument("--on", default="k1", metavar="KERNEL")
    made.add_argument("command", nargs=argparse.REMAINDER)
    for name, does, text in (
        ("shell", shell, "a shell in one of them, booted if need be"),
        ("crash", crash, "power loss"),
        ("boot", boot, "boot it again, from nothing"),
    ):
        made_of.action(name, does, text).add_argument("on", nargs="?", default="k1", metavar="KERNEL")
    made_of.action("status", status, "which are up")
    made_of.down(names_up)
    return made_of


if __name__ == "__main__":
    sys.exit(program().main())
