# SPDX-License-Identifier: GPL-3.0-or-later
"""Running qemu-img and libguestfs' programs: with their progress, their words when they fail, and within limits."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import HypervisorError, MissingLibraryError
from .job import Report

PERCENT = re.compile(rb"(\d+(?:\.\d+)?)(?:/100)?%")
LAST = 4000  # bytes of what a program said that are kept
# To look at a file that somebody else made: a header can ask for any amount of memory and time.
MEMORY, SECONDS = 2**30, 30

PACKAGES = {"qemu-img": "qemu-utils", "virt-": "libguestfs-tools", "guestfish": "libguestfs-tools"}


def run(step: str, command: Sequence[str], report: Report, environment: Mapping[str, str] | None = None) -> None:
    """Run a program to its end, telling its progress. Raises `HypervisorError` with what it said."""
    require(command[0])
    report(step, 0)
    said = bytearray()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C", **(environment or {})},
    ) as process:
        assert process.stdout is not None
        while piece := process.stdout.read1(LAST):  # type: ignore[attr-defined]  # a pipe is a BufferedReader
            said = (said + piece)[-LAST:]
            if found := PERCENT.findall(piece):
                report(step, min(float(found[-1]), 99.9))
    if process.returncode:
        raise HypervisorError(step, _last_words(bytes(said)) or f"{command[0]} ended with {process.returncode}")
    report(step, 100)


def ask(*command: str) -> Any:
    """What a program says in JSON, within limits. Raises `HypervisorError` with its words."""
    require(command[0])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, preexec_fn=_limited
    )
    if done.returncode:
        raise HypervisorError(f"{command[0]} {command[1]}", done.stderr.strip() or f"ended with {done.returncode}")
    return json.loads(done.stdout)


def require(program: str) -> None:
    """Raise `MissingLibraryError` that names the package, where a program is not installed."""
    if shutil.which(program) is None:
        package = next((package for start, package in PACKAGES.items() if program.startswith(start)), program)
        raise MissingLibraryError(f"{program} is not on the host: install {package}")


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def _last_words(said: bytes) -> str:
    lines = [line.strip() for line in re.split(r"[\r\n]+", said.decode(errors="replace"))]
    return "\n".join(line for line in lines if line and not PERCENT.fullmatch(line.strip("() ").encode()))
