#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests that take longer than a minute each, one after the other; what came of each is in tests/soak/RESULTS.md.

    tools/soak.py               all of them; those that passed at this very commit are not run again
    tools/soak.py NAME …        only these, whatever came of them before

A test is in this tier by the mark `soak`. It stands beside its short form, which `make test` runs.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tests" / "soak" / "RESULTS.md"
LIBRARY = "collections/ansible_collections/dos/vm/tests/unit/plugins/module_utils"
# Where marked tests are; finding them imports every test of these folders.
MARKED = ("tests/boundaries", "tests/lab")
# Laws whose number of examples is not fixed, and how many they get here.
LAWS = {
    f"{LIBRARY}/test_laws.py": 150,
    f"{LIBRARY}/test_by_hand.py": 150,
    f"{LIBRARY}/xml/test_domain.py": 3000,
    "tests/real/test_domain_lens.py": 300,
}
HEAD = """\
# What the slow tests said last

`make soak` writes this page. A row is the last run of a test: the commit it ran at (`+` is a tree with changes), its seconds
and the seed of what is random. Seconds are of a shared machine and are no budget.

| test | result | seconds | seed | commit | day |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """The last run of one test."""

    test: str
    result: str
    seconds: str
    seed: str
    commit: str
    day: str

    @property
    def line(self) -> str:
        return f"| {self.test} | {self.result} | {self.seconds} | {self.seed} | {self.commit} | {self.day} |\n"


def read() -> dict[str, Row]:
    if not RESULTS.exists():
        return {}
    lines = [line for line in RESULTS.read_text().splitlines() if line.startswith("| ")][1:]
    rows = (Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines)
    return {row.test: row for row in rows}


def write(rows: dict[str, Row]) -> None:
    """After each test, so that a run that is cut short loses nothing."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(HEAD + "".join(rows[test].line for test in sorted(rows)))


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def commit() -> str:
    """HEAD, with a `+` if the tree differs from it; this program's own page does not count."""
    changed = git("status", "--porcelain", "--", ".", f":!{RESULTS.relative_to(ROOT)}")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def marked() -> list[str]:
    """The tests of this tier, as pytest names them."""
    listed = subprocess.run(
        pytest("--collect-only", "-q", "-m", "soak", *MARKED), cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = [line for line in listed.stdout.splitlines() if "::" in line and not line.startswith("ERROR")]
    if listed.returncode or not found:
        sys.exit(listed.stdout + listed.stderr)
    return found


def run(test: str, at: str) -> Row:
    seed = random.randrange(2**32)
    environment = {**os.environ, **({"DOSVM_EXAMPLES": str(LAWS[test])} if test in LAWS else {})}
    own = (f"--basetemp={ROOT / '.cache' / 'tests-soak'}", f"--hypothesis-seed={seed}")
    started = time.monotonic()
    mark = () if test in LAWS else ("-m", "soak")
    done = subprocess.run(pytest(*mark, test, *own), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
    result = "passed" if done.returncode == 0 else "FAILED"
    return Row(
        test, result, f"{time.monotonic() - started:.0f}", str(seed), at, time.strftime("%Y-%m-%d", time.gmtime())
    )


def main() -> int:
    (ROOT / ".cache").mkdir(exist_ok=True)
    tests = [*LAWS, *marked()]
    wanted = [test for test in tests if any(name in test for name in sys.argv[1:])]
    if sys.argv[1:] and not wanted:
        sys.exit(
            f"no test of this tier has {' or '.join(sys.argv[1:])} in its name; these are there:\n" + "\n".join(tests)
        )
    rows, at = {test: row for test, row in read().items() if test in tests}, commit()
    for test in wanted or tests:
        before = rows.get(test)
        if not wanted and before and (before.result, before.commit) == ("passed", at):
            print(f"== {test} passed at {at}", flush=True)
            continue
        print(f"== {test}", flush=True)
        rows[test] = run(test, at)
        write(rows)
    return int(any(rows[test].result != "passed" for test in wanted or tests))


if __name__ == "__main__":
    sys.exit(main())
