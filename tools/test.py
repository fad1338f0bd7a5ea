#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""All tests, or those that are named. All of them run in parts side by side, which share no daemon and no network.

    tools/test.py                  every part; what the others said is printed when they have ended
    tools/test.py PATH … -k WORD   what pytest makes of it

Most of a test's time is waiting for guests, so three at once cost little more than one.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
# By what they need, and whatever is in no other part is in the first, so no test is forgotten.
# The libvirt of this machine, of which there is one.
MACHINE = ("tests/real", "tests/reconciler/test_real.py", "tests/perf")
PARTS: dict[str, Sequence[str]] = {
    "rest": ("collections/ansible_collections/dos/vm/tests/unit", "tests"),
    "machine": MACHINE,
    "hosts": ("tests/lab",),
}
SLOWEST = "--durations=15"


@dataclass(slots=True)
class Part:
    """One pytest, which writes where nobody else does."""

    name: str
    words: Sequence[str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def log(self) -> Path:
        return CACHE / f"tests-{self.name}.log"

    def start(self, log: TextIO | None) -> None:
        # pytest makes the folder of all its runs anew, and two at once would take it from each other.
        own = (f"--basetemp={CACHE / f'tests-{self.name}'}", SLOWEST)
        self.process = subprocess.Popen(
            pytest(*self.words, *own), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait()

    def stop(self) -> None:
        """As Ctrl-C does: labs and kernels are put down."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def parts() -> list[Part]:
    (first, everything), *others = PARTS.items()
    elsewhere = [f"--ignore={path}" for _, words in others for path in words]
    return [Part(first, (*everything, *elsewhere)), *(Part(name, words) for name, words in others)]


def main() -> int:
    if len(sys.argv) > 1:
        return subprocess.run(pytest(*sys.argv[1:]), cwd=ROOT, check=False).returncode
    started = time.monotonic()
    CACHE.mkdir(exist_ok=True)
    here, *meanwhile = parts()
    try:
        for part in meanwhile:
            with part.log.open("w") as log:
                part.start(log)
            print(f"== meanwhile, {' and '.join(part.words)}: {part.log.relative_to(ROOT)}", flush=True)
        here.start(None)
        codes = [here.wait()]
        for part in meanwhile:
            codes.append(part.wait())
            print(f"== after {time.monotonic() - started:.0f} s: {' and '.join(part.words)}", flush=True)
            print(part.log.read_text(), end="")
    finally:
        for part in (here, *meanwhile):
            part.stop()
    print(f"== all tests: {time.monotonic() - started:.0f} s", flush=True)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
