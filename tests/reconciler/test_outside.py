# SPDX-License-Identifier: GPL-3.0-or-later
"""What others see and send: metrics and pages over HTTP, signals, the inventory's digest, the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dosvm_reconciler.__main__ import main
from dosvm_reconciler.actuator import Run
from dosvm_reconciler.metrics import Metrics
from dosvm_reconciler.plan import Plan
from dosvm_reconciler.sources import digest
from dosvm_reconciler.web import Views, endpoint, serving


def samples(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        f"{sample.name}{''.join(f'|{value}' for value in sample.labels.values())}": sample.value
        for family in families
        for sample in family.samples
    }


def test_every_metric_is_there_at_zero_before_the_first_play() -> None:
    found = samples(Metrics())
    for name in (
        "dos_drift_objects", "dos_interruptions_pending", "dos_frozen", "dos_last_success_timestamp_seconds",
        "dos_plan_objects|create", "dos_plan_objects|conflict", "dos_runs_total|nothing", "dos_runs_total|drift",
        "dos_runs_total|applied", "dos_runs_total|failed", "dos_runs_total|invalid",
        "dos_run_seconds_count|plan", "dos_run_seconds_count|site",
    ):  # fmt: skip
        assert found[name] == 0.0, name


def test_plays_and_plans_are_counted() -> None:
    metrics = Metrics()
    metrics.planned(Plan(verdicts={"create": 2}, changes=2, removals=0, drift=2, interruptions=1, text=""))
    metrics.ran("plan", "drift", 3.0, 1000.0)
    metrics.ran("site", "failed", 4.0, 2000.0)
    metrics.froze(True)
    found = samples(metrics)
    assert (found["dos_plan_objects|create"], found["dos_drift_objects"], found["dos_interruptions_pending"]) == (
        2,
        2,
        1,
    )
    assert (found["dos_runs_total|drift"], found["dos_runs_total|failed"], found["dos_frozen"]) == (1, 1, 1)
    assert found["dos_last_success_timestamp_seconds"] == 1000.0, "a failure is no success"
    assert found["dos_run_seconds_sum|site"] == 4.0


# ------------------------------------------------------------------------------------------------ pages


class Site:
    """The pages on a free port."""

    healthy = True

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.views = Views(self.metrics.text, lambda: self.healthy, lambda: ("drift: <b>", "+ network <script>&"))

    def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.headers["Content-Type"], refused.read().decode()


@pytest.fixture
def site() -> Iterator[Site]:
    held = Site()
    with serving(held.views, "127.0.0.1", 0) as port:
        held.port = port
        yield held


def test_metrics_are_what_prometheus_reads(site: Site) -> None:
    status, kind, body = site.get("/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert body.encode() == site.metrics.text()


def test_the_page_shows_the_plan_and_runs_nothing_that_stands_in_it(site: Site) -> None:
    status, kind, body = site.get("/?x=y")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert "+ network &lt;script&gt;&amp;" in body
    assert "<script>" not in body
    assert "drift: &lt;b&gt;" in body


def test_health_is_a_status(site: Site) -> None:
    assert site.get("/healthz")[0] == 200
    site.healthy = False
    assert site.get("/healthz")[0] == 503


@pytest.mark.parametrize(("path", "method", "status"), [("/x", "GET", 404), ("/", "POST", 501), ("/", "HEAD", 200)])
def test_there_is_nothing_else_and_nothing_to_press(site: Site, path: str, method: str, status: int) -> None:
    assert site.get(path, method)[0] == status


def test_an_endpoint_is_an_address_and_a_port() -> None:
    assert (endpoint("127.0.0.1:9177"), endpoint("[::1]:0")) == (("127.0.0.1", 9177), ("::1", 0))
    for wrong in ("9177", ":9177", "localhost:", "localhost:http", "localhost:70000"):
        with pytest.raises(ValueError, match=r"write 127\.0\.0\.1:9177"):
            endpoint(wrong)


# ------------------------------------------------------------------------------------------------ signals

DAEMON = """
import signal, sys, time
from dosvm_reconciler.__main__ import _listen_for_signals, _run
from dosvm_reconciler.daemon import Daemon
from dosvm_reconciler.loop import Rules
from dosvm_reconciler.metrics import Metrics
from dosvm_reconciler.plan import Failure

class Hands:
    def look(self):
        print("look", flush=True)
        time.sleep(0.3)
        print("looked", flush=True)
        return Failure(text="wrong", terminal=True)

    def observe(self):
        print("observed", flush=True)

every = float(sys.argv[1]) if sys.argv[1:] else None
_run(Daemon(Rules(interval=1000), lambda: "a", Hands(), Metrics()), _listen_for_signals(), every)
"""


def test_sighup_looks_now_and_sigterm_lets_the_play_end() -> None:
    with subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert [running.stdout.readline() for _ in range(2)] == ["look\n", "looked\n"]
            running.send_signal(signal.SIGHUP)
            assert running.stdout.readline() == "look\n"
            running.send_signal(signal.SIGTERM)
            assert running.stdout.read() == "looked\n"
            assert running.wait(timeout=300) == 0
        finally:
            running.kill()


def test_hosts_are_looked_at_between_the_rounds_and_a_signal_need_not_wait() -> None:
    """HOST-10."""
    with subprocess.Popen([sys.executable, "-c", DAEMON, "0.2"], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            said = [running.stdout.readline().strip() for _ in range(5)]
            assert said == ["look", "looked", "observed", "observed", "observed"]
            running.send_signal(signal.SIGTERM)
            assert set(running.stdout.read().split()) <= {"observed"}
            assert running.wait(timeout=300) == 0
        finally:
            running.kill()


# ------------------------------------------------------------------------------------------------ which declaration


def test_the_digest_changes_with_every_file_and_with_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("a", encoding="utf-8")
    seen = [digest(tmp_path), digest(tmp_path)]
    (tmp_path / "group_vars" / "x.yml").write_text("", encoding="utf-8")
    seen.append(digest(tmp_path))
    (tmp_path / "group_vars" / "x.yml").rename(tmp_path / "group_vars" / "y.yml")
    (tmp_path / "lost").symlink_to("nowhere")
    seen.append(digest(tmp_path))
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    assert all(each.startswith("sha256:") for each in seen)
    assert digest(tmp_path / "hosts.yml").startswith("sha256:")


def test_links_in_a_circle_and_files_larger_than_memory_have_a_digest(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(".")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "now").symlink_to("group_vars")
    seen = [digest(tmp_path), digest(tmp_path)]
    (tmp_path / "now").unlink()
    (tmp_path / "now").symlink_to("host_vars")
    seen.append(digest(tmp_path))
    assert seen[0] == seen[1] != seen[2]


def test_a_clean_checkout_is_its_commit_and_a_dirty_one_its_content(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@t.example")
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").write_text("a", encoding="utf-8")
    git("init", "--quiet")
    assert digest(inventory).startswith("sha256:")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    first = git("rev-parse", "HEAD")
    (tmp_path / "elsewhere").write_text("b", encoding="utf-8")
    git("add", ".")
    git("commit", "--quiet", "--message", "two")
    assert digest(inventory) == f"git:{first}"
    (inventory / ".dos-vm").mkdir()
    (inventory / ".dos-vm" / "lab.sqlite").write_text("every play writes to it")
    assert digest(inventory) == f"git:{first}"
    (inventory / ".dos-vm" / ".gitignore").write_text("*\n")
    assert digest(inventory) == f"git:{first}"
    (inventory / "more.yml").write_text("c", encoding="utf-8")
    assert digest(inventory).startswith("sha256:")


# ------------------------------------------------------------------------------------------------ a play's end


def test_a_failure_of_the_check_is_terminal_and_any_other_is_not() -> None:
    run = Run()
    run.heard({"event": "runner_on_failed", "event_data": {"host": "h", "task_action": "x", "res": {"msg": "later"}}})
    run.status = 2
    assert run.failure is not None
    assert (run.failure.text, run.failure.terminal) == ("h: later", False)
    run.heard(
        {"event": "runner_on_failed", "event_data": {"host": "h", "task_action": "dos.vm.site", "res": {"msg": "no"}}}
    )
    assert (run.failure.text, run.failure.terminal) == ("h: no", True)
    assert Run().failure is None


@pytest.mark.parametrize(
    "wrong", [("--interval", "0"), ("--max-changes", "-1"), ("--listen", "x"), ("--inventory", "none")]
)
def test_a_wrong_option_is_said_before_anything_runs(
    wrong: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--inventory", str(tmp_path), "--once", *wrong])
    assert wrong[0] in capsys.readouterr().err
