# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that run in a kernel and are reported on the machine: one pytest in there for each file of them.

A start of Python takes ten times as long in a kernel as outside, so the tests of a file go together. Their reports come
back as lines of JSON through the folder that both sides see, as pytest's own parallel runs send them over a wire.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .lab import Kernels

REPORTS = "DOS_KERNEL_REPORTS"  # set inside, to the file that takes the reports
PATIENCE = 900.0  # seconds for all tests of a file


def is_inside() -> bool:
    return REPORTS in os.environ


def send(config: pytest.Config, report: pytest.TestReport) -> None:
    data = config.hook.pytest_report_to_serializable(config=config, report=report)
    with Path(os.environ[REPORTS]).open("a") as file:
        file.write(json.dumps(data) + "\n")


class Inside:
    """The tests of one session that run in k1."""

    def __init__(self, kernels: Kernels, config: pytest.Config) -> None:
        self._kernels = kernels
        self._config = config
        self._files: dict[Path, dict[str, list[pytest.TestReport]]] = {}
        self._last_words: dict[Path, str] = {}

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """Setup, call and teardown of a test; the first of a file runs them all."""
        if item.path not in self._files:
            items = [each for each in item.session.items if each.path == item.path]
            self._files[item.path] = self._run(item.path, items)
        found = self._files[item.path].get(item.nodeid, [])
        if any(report.when == "teardown" for report in found):
            return found
        # Once: the next tests of the file have nothing to add to it.
        words = self._last_words.pop(item.path, "its words are with the first such test")
        why = f"no answer from k1 about this test:\n{words}\n{self._kernels.kernel('k1').last_words()}"
        return [*found, pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")]

    def _run(self, path: Path, items: list[pytest.Item]) -> dict[str, list[pytest.TestReport]]:
        name = f"reports-{path.stem}.jsonl"
        words = ["python", "-m", "pytest", "-o", "cache_dir=/tmp/pytest", "-q", *(item.nodeid for item in items)]
        try:
            done = self._kernels.run("env", f"{REPORTS}=/srv/shared/{name}", *words, timeout=PATIENCE, check=False)
            self._last_words[path] = (done.stdout + done.stderr)[-8000:]
        except subprocess.TimeoutExpired as error:
            self._last_words[path] = f"{error}\n{(error.stdout or b'').decode(errors='replace')[-8000:]}"
        return self._read(self._kernels.shared / name)

    def _read(self, path: Path) -> dict[str, list[pytest.TestReport]]:
        found: dict[str, list[pytest.TestReport]] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=json.loads(line))
            found.setdefault(report.nodeid, []).append(report)
        return found
