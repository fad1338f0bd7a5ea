# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that outlive who started them, and commands whose failures come with their own words."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from .errors import LabError

PATIENCE = 300.0  # seconds, for what takes some where nobody else wants the processor


def tells(told: socket.socket, pid: int, seconds: float, word: bytes = b"") -> bool:
    """Whether a datagram with this line in it comes before the process ends and the time is over."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError), _process(pid) as process:
        while (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([told, process], [], [], left)
            if told in readable and word in (b"", *told.recv(4096).split(b"\n")):
                return True
            if process in readable:
                break
    return False


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process ends."""
    handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        os.close(handle)


def end(pids: Iterable[int], seconds: float = 10) -> None:
    """Kills processes, and waits until none of them can write any more: one with much memory takes its time to go."""
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as held:
        left = set()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                left.add(held.enter_context(_process(pid)))
                os.kill(pid, signal.SIGKILL)
        while left and (patience := deadline - time.monotonic()) > 0:
            left -= set(select.select(left, [], [], patience)[0])


def run(
    command: Sequence[str], *, where: str, words: Sequence[str], enter: Callable[[], None], timeout: float,
    check: bool = True, env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """A command that carries `words` to where they run, with its output; raises LabError with their words unless told not to."""
    done = subprocess.run(
        command, env=env, preexec_fn=enter, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise LabError(f"{where}: {shlex.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done
