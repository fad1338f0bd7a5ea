# SPDX-License-Identifier: GPL-3.0-or-later
"""Quotas as an operator meets them: in every check and plan, remembered from run to run, and as a page for people."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import operators
import pytest


class Operator(operators.Operator):
    """Somebody who has a quota."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})
        self.quota: dict[str, Any] = {"vcpus": 4, "memory": "1 GiB", "instances": 3}
        self.vms: dict[str, Any] = {"us-1": {}, "us-2": {"power": "off"}}

    def play(self, name: str, *arguments: str, succeeds: bool = True) -> str:
        instance = {"project": "us", "memory": "16 MiB", "vcpus": 2, "stop_timeout": 0, "vms": self.vms}
        self.site = {
            "dos_site": "us",
            "dos_projects": {"us": {"label": "Us & <them>", "quota": self.quota}, "idle": {}},
            "dos_instances": {"us": instance},
        }
        return super().play(name, *arguments, succeeds=succeeds)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    held = Operator(tmp_path_factory.mktemp("usage"))
    yield held
    held.play("destroy", "-e", "dos_confirm=us")
    listed = subprocess.run(["virsh", "list", "--all", "--name"], capture_output=True, text=True, check=True).stdout
    assert not [name for name in listed.split() if name.startswith("us-")]


def test_each_plan_shows_before_after_and_limit(operator: Operator) -> None:
    assert "project us: instances 1 of 3, vcpus 2 of 4, memory 16 MiB of 1 GiB" in operator.play("validate")
    operator.play("site")
    operator.vms["us-2"] = {"power": "on"}
    assert "project us: instances 1 of 3, vcpus 2 → 4 of 4, memory 16 MiB → 32 MiB of 1 GiB" in operator.play("plan")


def test_what_would_pass_a_quota_is_refused_before_any_host_is_contacted(operator: Operator) -> None:
    operator.vms["us-3"] = {}
    told = operator.play("site", succeeds=False)
    assert "quota vcpus of project us is 4: 4 used, 2 requested (QUOTA-02)" in told
    assert "TASK [Read the hosts]" not in told
    del operator.vms["us-3"]


def test_a_lowered_limit_takes_nothing_away_and_gives_nothing(operator: Operator) -> None:
    """QUOTA-06: also in a plan, and from what the store remembers."""
    operator.play("site")
    operator.quota["vcpus"] = 1
    assert "vcpus 4 of 1" in operator.play("plan")
    operator.vms["us-3"] = {}
    assert "and it was 4 before the limit" in operator.play("plan", succeeds=False)
    del operator.vms["us-3"]
    assert "quota vcpus of project us is 1: 0 used, 2 requested" in operator.play(
        "validate", "-e", "dos_store=none", succeeds=False
    )


class Page(HTMLParser):
    """Collects what refers elsewhere, and the text of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""
        self.bars: list[float] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.links += [str(held[name]) for name in ("src", "href") if name in held]
        if tag == "rect" and held.get("class") != "rail":
            self.bars.append(float(str(held["width"])))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_a_table_and_a_page_that_needs_nothing_else(operator: Operator, tmp_path: Path) -> None:
    """QUOTA-03, QUOTA-04."""
    file = tmp_path / "usage.html"
    told = operator.play("report", "-e", f"dos_report_file={file}")
    (line,) = (line for line in told.splitlines() if line.startswith("us "))
    assert re.split(r"  +", line)[:4] == ["us", "1 / 3", "4 / 1", "32 MiB / 1 GiB"]
    page = Page()
    page.feed(file.read_text())
    assert "Us & <them>" in page.text
    assert "32 MiB / 1 GiB" in page.text
    assert page.bars == [33.33, 100.0, 3.12]
    assert [link for link in page.links if not link.startswith("#")] == []
    assert "idle" not in operator.play("report", "-e", "dos_report_project=us")


def test_vcpu_time_is_metered_from_look_to_look(operator: Operator) -> None:
    """QUOTA-05: the two machines with two processors each have run since the first site."""
    import sqlite3

    store = operator.folder / ".dos-vm" / "us.sqlite"
    with sqlite3.connect(store) as connection:
        rows = connection.execute("SELECT vm, vcpus, run, seen - started FROM runs ORDER BY vm").fetchall()
        connection.execute("UPDATE runs SET started = started - 90061 WHERE vm = 'us-1'")
    connection.close()
    assert {row[0] for row in rows} == {"us-1", "us-2"}
    assert all(row[1] == 2 and re.fullmatch(r"[0-9a-f-]+/\d+", row[2]) for row in rows)
    assert next(row[3] for row in rows if row[0] == "us-1") > 0
    told = operator.play("report")
    assert re.search(r"^us .* 2 d 02:0\d:\d\d$", told, re.MULTILINE)
