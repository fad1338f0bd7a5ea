# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that run in a kernel and are reported on the machine: one pytest in there for each file of them.

A start of Python takes ten times as long in a kernel as outside, so the tests of a file go together. Their reports come
back as lines of JSON through the folder that both sides see, as pytest's own parallel runs send them over a wire.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest

from .lab import Kernels

REPORTS = "DOS_KERNEL_REPORTS"  # set inside, to the file that takes the reports
PATIENCE = 900.0  # seconds for all tests of a file, in the fastest kind of kernel


def is_inside() -> bool:
    return REPORTS in os.environ


def send(config: pytest.Config, report: pytest.TestReport) -> None:
    data = config.hook.pytest_report_to_serializable(config=config, report=report)
    with Path(os.environ[REPORTS]).open("a") as file:
        file.write(json.dumps(data) + "\n")


class Inside:
    """The tests of one session that run in kernels: a file in whichever is free, so two files at a time in two kernels."""

    def __init__(self, kernels: Kernels, items: Sequence[pytest.Item]) -> None:
        self._kernels = kernels
        self._config = items[0].config
        self._free = SimpleQueue[str]()
        names = [each.name for each in kernels.kernels()]
        for name in names:
            self._free.put(name)
        self._workers = ThreadPoolExecutor(len(names))
        self._last_words: dict[Path, str] = {}
        self._files = {
            path: self._workers.submit(self._run, path, [each for each in items if each.path == path])
            for path in dict.fromkeys(item.path for item in items)
        }

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """Setup, call and teardown of a test, once all tests of its file have run."""
        found = self._files[item.path].result().get(item.nodeid, [])
        if any(report.when == "teardown" for report in found):
            return found
        # Once: the next tests of the file have nothing to add to it.
        words = self._last_words.pop(item.path, "its words are with the first such test")
        why = f"no answer from the kernel about this test:\n{words}"
        return [*found, pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")]

    def wait(self) -> None:
        """Until nothing runs inside: who uses the kernels otherwise would be in its way."""
        for running in self._files.values():
            running.result()

    def stop(self) -> None:
        """Begin nothing more; what runs ends with its kernel."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _run(self, path: Path, items: list[pytest.Item]) -> dict[str, list[pytest.TestReport]]:
        name, reports = self._free.get(), f"reports-{path.stem}.jsonl"
        words = ["python", "-m", "pytest", "-o", "cache_dir=/tmp/pytest", "-q", *(item.nodeid for item in items)]
        try:
            command = ["env", f"{REPORTS}=/srv/shared/{reports}", *words]
            done = self._kernels.run(*command, on=name, timeout=PATIENCE, check=False)
            said = done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            said = f"{error}\n{(error.stdout or b'').decode(errors='replace')}"
        finally:
            self._free.put(name)
        self._last_words[path] = f"{said[-8000:]}\n{self._kernels.kernel(name).last_words()}"
        return self._read(self._kernels.shared / reports)

    def _read(self, path: Path) -> dict[str, list[pytest.TestReport]]:
        found: dict[str, list[pytest.TestReport]] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=json.loads(line))
            found.setdefault(report.nodeid, []).append(report)
        return found
