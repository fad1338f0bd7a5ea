# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every check of the tree side by side, then show what failed.

    tools/check.py                 all of them
    tools/check.py format lint     only these

A check that cannot run has failed: there is no "skipped" here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BIN = TOP / ".venv" / "bin"
COLLECTION = TOP / "collections" / "ansible_collections" / "dos" / "vm"


@dataclass(frozen=True)
class Check:
    name: str
    command: tuple[str, ...]
    folder: Path = TOP


@dataclass(frozen=True)
class Outcome:
    check: Check
    status: int
    seconds: float
    output: str


# The slow ones first: with two processors the order decides how long the whole takes.
CHECKS = (
    Check("sanity", ("tools/sanity.sh",)),
    Check("ansible-lint", ("ansible-lint", "--offline", "--strict", "--nocolor", "-q")),
    Check("types", ("mypy", "--no-color-output")),
    Check("generated", ("python", "tools/generate.py", "--check")),
    Check("layers", ("lint-imports", "--cache-dir", ".cache/import-linter")),
    Check("yamllint", ("yamllint", "--strict", "--format", "parsable", ".")),
    Check("changelog", ("antsibull-changelog", "lint"), COLLECTION),
    Check("lint", ("ruff", "check", "--quiet", "--output-format", "concise", ".")),
    Check("format", ("ruff", "format", "--check", "--quiet", "--output-format", "concise", ".")),
)


def run(check: Check) -> Outcome:
    # The tools find each other (ansible-lint calls ansible) by PATH, as in an activated environment.
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(TOP / ".venv"),
        "NO_COLOR": "1",
    }
    program = check.command[0] if "/" in check.command[0] else str(BIN / check.command[0])
    start = time.monotonic()
    try:
        done = subprocess.run(
            [program, *check.command[1:]],
            cwd=check.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return Outcome(check, 127, time.monotonic() - start, f"{error}\nRun tools/setup.sh dev.\n")
    return Outcome(check, done.returncode, time.monotonic() - start, done.stdout)


def chosen(names: Sequence[str]) -> list[Check]:
    return [check for check in CHECKS if not names or check.name in names]


def report(outcome: Outcome) -> None:
    print(f"{outcome.check.name:13} {outcome.seconds:5.1f} s  {'failed' if outcome.status else 'ok'}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the checks of the tree side by side.")
    parser.add_argument("names", nargs="*", metavar="check", help=", ".join(check.name for check in CHECKS))
    names = parser.parse_args().names
    if unknown := set(names) - {check.name for check in CHECKS}:
        parser.error(f"no check is called {', '.join(sorted(unknown))}")

    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for future in as_completed([pool.submit(run, check) for check in chosen(names)]):
            outcome = future.result()
            report(outcome)
            if outcome.status:
                failed.append(outcome)

    for outcome in failed:
        print(f"\n── {outcome.check.name}: {' '.join(outcome.check.command)} → {outcome.status}")
        print(outcome.output.rstrip())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
