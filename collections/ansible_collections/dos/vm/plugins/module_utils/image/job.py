# SPDX-License-Identifier: GPL-3.0-or-later
"""Work of minutes and hours on a host, which goes on when the connection is lost and is asked how far it is (PERF-03).

A job is a process of its own and two files named for what it does: what it told last, and a lock that it holds while it
lives. The same call again finds the job instead of beginning a second one; what was killed half way is begun anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DosVmError, HypervisorError

MOST = 4096  # descriptors that are closed
FOLDER = Path("/var/lib/dos-vm/jobs")
Report = Callable[[str, float], None]  # the step it is in, and how much of that is done in percent
Work = Callable[[Report], Mapping[str, Any]]
Told = dict[str, Any]


class Job:
    """One piece of work by what it is: two jobs with the same `what` are the same."""

    def __init__(self, what: Mapping[str, object], folder: Path = FOLDER) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:24]
        self._state, self._lock = folder / f"{name}.json", folder / f"{name}.lock"

    @property
    def begun(self) -> bool:
        """Whether it goes on, or has ended and nobody has heard how."""
        return self._told() is not None

    def advance(self, work: Work, seconds: float) -> Told:
        """Begin the work unless it is going on, wait for it at most `seconds`, and tell how far it is.

        The answer has `state` (running, done), `step` and `percent`, and what the work returned. Raises what the work raised.
        """
        told = self._told()
        if not self._alive() and (told is None or told["state"] == "running"):
            self._begin(work)
        self._wait(seconds)
        told = self._told() or {}
        if self._alive():
            return {"state": "running", **told}
        self._forget()
        if told.get("state") != "done":
            why = told.get("error") or "it was killed half way; the same call begins it anew"
            raise HypervisorError(str(told.get("step") or "begin the work"), why)
        return told

    def _told(self) -> Told | None:
        try:
            told: Told = json.loads(self._state.read_text())
        except (OSError, ValueError):
            return None
        return told

    def _tell(self, **told: object) -> None:
        draft = self._state.with_suffix(".draft")
        draft.write_text(json.dumps(told))
        draft.replace(self._state)

    def _forget(self) -> None:
        for path in (self._state, self._lock):
            path.unlink(missing_ok=True)

    def _alive(self) -> bool:
        try:
            with self._lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _wait(self, seconds: float) -> None:
        """Until the job ends, or the time is over."""
        deadline = time.monotonic() + seconds
        pid = (self._told() or {}).get("pid")
        with _watching(pid) as watched:
            while self._alive() and (left := deadline - time.monotonic()) > 0:
                if watched is None:
                    time.sleep(min(0.1, left))
                else:
                    watched.poll(int(left * 1000) + 1)

    def _begin(self, work: Work) -> None:
        """A process that no terminal, connection or module waits for; returns when it holds its lock."""
        ready, begun = os.pipe()
        child = os.fork()
        if child:
            os.close(begun)
            os.waitpid(child, 0)
            os.read(ready, 1)
            os.close(ready)
            return
        os.setsid()
        if os.fork():
            os._exit(0)
        try:
            self._run(work, begun)
        finally:
            os._exit(0)

    def _run(self, work: Work, begun: int) -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        # Whoever waits at the other end of one of ours would wait for the whole work.
        os.closerange(3, begun)
        os.closerange(begun + 1, MOST)
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            pid = os.getpid()
            last, now = 0.0, ""

            def report(step: str, percent: float) -> None:
                nonlocal last, now
                if step != now or time.monotonic() - last > 0.2 or percent in (0, 100):
                    last, now = time.monotonic(), step
                    self._tell(state="running", pid=pid, step=step, percent=round(percent, 1))

            report("begin", 0)
            os.write(begun, b".")
            os.close(begun)
            try:
                self._tell(**{**work(report), "state": "done", "pid": pid, "percent": 100})
            except DosVmError as refused:
                self._tell(state="failed", step=getattr(refused, "operation", "work"), error=_why(refused))
            except Exception as broken:  # the process ends here: what is not told now is never told
                self._tell(state="failed", step="work", error=f"{type(broken).__name__}: {broken}")


def _why(refused: DosVmError) -> str:
    return getattr(refused, "text", None) or str(refused)


@contextmanager
def _watching(pid: object) -> Iterator[select.poll | None]:
    """Something that wakes when the process ends; nothing where the kernel cannot."""
    try:
        descriptor = os.pidfd_open(int(str(pid)))
    except (OSError, ValueError, AttributeError):
        yield None
        return
    try:
        watched = select.poll()
        watched.register(descriptor, select.POLLIN)
        yield watched
    finally:
        os.close(descriptor)
