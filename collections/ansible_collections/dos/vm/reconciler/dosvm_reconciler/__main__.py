# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m dosvm_reconciler --inventory DIR`: looks at the hosts again and again, and says where they have drifted."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from .actuator import Actuator
from .daemon import Daemon
from .loop import Rules, Verdict
from .metrics import Metrics
from .sources import digest
from .web import Views, endpoint, serving

NOTHING_TO_DO, FAILED, DRIFTED = 0, 1, 2
STATUS = {Verdict.NOTHING: NOTHING_TO_DO, Verdict.RETRY: FAILED, Verdict.PARKED: FAILED}

Signals = SimpleQueue[int]  # the one queue that a signal handler may put into


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    metrics = Metrics()
    daemon = Daemon(_rules(options), partial(digest, options.inventory), Actuator(options.inventory), metrics)
    if options.once:
        return STATUS.get(daemon.round().verdict, DRIFTED)
    signals = _listen_for_signals()
    with serving(Views(metrics.text, daemon.healthy, daemon.page), *options.listen):
        _run(daemon, signals, options.observe)
    return NOTHING_TO_DO


def _run(daemon: Daemon, signals: Signals, observe: float | None = None) -> None:
    """Come round until a signal says that it is enough; in between look at the hosts every so many seconds, if at all."""
    forced = False
    while True:
        decision = daemon.round(forced=forced)
        received = _observe(daemon, signals, decision.at, observe)
        if received & {signal.SIGTERM, signal.SIGINT}:
            return
        forced = signal.SIGHUP in received


def _observe(daemon: Daemon, signals: Signals, until: float, every: float | None) -> set[int]:
    """Wait, and look at the hosts meanwhile. A play that runs is not interrupted for it, so a look may come late."""
    while every is not None and time.monotonic() + every < until:
        daemon.observe()
        if received := _wait(signals, min(time.monotonic() + every, until)):
            return received
    return _wait(signals, until)


def _wait(signals: Signals, until: float) -> set[int]:
    """The signals that have come, also during the play; none when it is time."""
    try:
        received = {signals.get(timeout=max(0.0, until - time.monotonic()))}
    except Empty:
        return set()
    while not signals.empty():
        received.add(signals.get())
    return received


def _listen_for_signals() -> Signals:
    signals: Signals = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, frame: signals.put(received))
    return signals


def _rules(options: argparse.Namespace) -> Rules:
    return Rules(
        apply=options.apply,
        interval=options.interval,
        max_changes=options.max_changes,
        max_removals=options.max_removals,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dosvm_reconciler", description=__doc__)
    add = parser.add_argument
    add("--inventory", required=True, type=_inventory, metavar="DIR", help="the site, as for ansible-playbook -i")
    add("--interval", type=_seconds, default=300.0, metavar="SECONDS", help="time between two looks (%(default)s)")
    add("--observe", type=_seconds, metavar="SECONDS", help="time between two looks which hosts answer, and how busy (none)")
    add("--apply", action="store_true", help="make the hosts as declared; without it, only say where they differ")
    add("--once", action="store_true", help="come round once: 0 nothing to do, 2 drift, 1 failure; no web page")
    add("--listen", type=_endpoint, default="127.0.0.1:9177", metavar="ADDRESS:PORT", help="web page (%(default)s)")
    add(
        "--max-changes", type=_number, default=20, metavar="N", help="objects changed at once, unattended (%(default)s)"
    )
    add("--max-removals", type=_number, default=0, metavar="N", help="of these, removed (%(default)s)")
    return parser


def _inventory(text: str) -> Path:
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"there is no {text}")
    return Path(text)


def _seconds(text: str) -> float:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, write 1 or more")
    return float(text)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of objects, write 0 or more")
    return int(text)


def _endpoint(text: str) -> tuple[str, int]:
    try:
        return endpoint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
