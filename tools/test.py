#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""All tests, or those that are named. All of them run in two parts side by side: what has hosts or kernels of its own, and the rest.

    tools/test.py                  both parts; the second is printed when the first has ended
    tools/test.py PATH … -k WORD   what pytest makes of it

The parts share no daemon and no network. Most of a test's time is waiting for guests, so two cost little more than one.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APART = ("tests/lab", "tests/kernel")
REST = ("collections/ansible_collections/dos/vm/tests/unit", "tests", *(f"--ignore={folder}" for folder in APART))
LOG = ROOT / ".cache" / "tests-apart.log"


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def main() -> int:
    if len(sys.argv) > 1:
        return subprocess.run(pytest(*sys.argv[1:]), cwd=ROOT, check=False).returncode
    started = time.monotonic()
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("w") as log:
        # pytest makes the folder of all its runs anew, and two at once would take it from each other.
        folder = ROOT / ".cache" / "tests-apart"
        apart = subprocess.Popen(
            pytest(*APART, f"--basetemp={folder}"), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        print(f"== {' and '.join(APART)} run meanwhile: {LOG.relative_to(ROOT)}", flush=True)
        status = subprocess.run(pytest(*REST), cwd=ROOT, check=False).returncode
        print(f"== after {time.monotonic() - started:.0f} s: {' and '.join(APART)}", flush=True)
        apart.wait()
    finally:
        if apart.poll() is None:
            apart.send_signal(signal.SIGINT)  # as Ctrl-C: labs and kernels are put down
            apart.wait()
    print(LOG.read_text(), end="")
    print(f"== all tests: {time.monotonic() - started:.0f} s", flush=True)
    return status or apart.returncode


if __name__ == "__main__":
    sys.exit(main())
