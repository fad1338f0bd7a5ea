#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel that has what this machine's own may lack, as a process. docs/kernel.md tells what it is good for.

tests/kernel/kernel.py run COMMAND …     in a kernel that is up, or in one that is booted for it and ends with it
tests/kernel/kernel.py up [-n 2]         tests/kernel/kernel.py shell [k1]
tests/kernel/kernel.py status            tests/kernel/kernel.py down
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
from namespaces.host import LabError
from uml import ready
from uml.lab import DEFAULT, Kernels, names_up


def up(kernels: Kernels, options: argparse.Namespace) -> None:
    for reason in ready.missing():
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
        print(f"{kernels.name} is not up")
    sys.exit(not found or any(each.pid() is None for each in found))


def down(kernels: Kernels, options: argparse.Namespace) -> None:
    for each in map(Kernels, names_up()) if options.all else [kernels]:
        each.down()
        print(f"{each.name} is gone")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default=DEFAULT, help=f"which group of kernels (default: {DEFAULT})")
    parser.add_argument("-n", "--kernels", type=int, default=1, help="how many, on one bridge")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(
        name: str, does: Callable[[Kernels, argparse.Namespace], None], text: str, *, on: bool = False
    ) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text)
        made.set_defaults(does=does)
        if on:
            made.add_argument("on", nargs="?", default="k1", metavar="KERNEL")
        return made

    made = action("up", up, "boot what is off")
    made.add_argument("-n", "--kernels", type=int, default=argparse.SUPPRESS)
    made = action("run", run, "a command in one of them, in this tree")
    made.add_argument("--on", default="k1", metavar="KERNEL")
    made.add_argument("command", nargs=argparse.REMAINDER)
    action("shell", shell, "a shell in one of them, booted if need be", on=True)
    action("crash", crash, "power loss", on=True)
    action("boot", boot, "boot it again, from nothing", on=True)
    action("status", status, "which are up")
    action("down", down, "leave nothing of them").add_argument("--all", action="store_true", help="all groups")
    return parser


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that what was made is cleaned up as after Ctrl-C


def main() -> int:
    options = arguments().parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        options.does(Kernels(options.name), options)
    except (LabError, RuntimeError, TimeoutError, OSError) as error:
        print(f"kernel: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
