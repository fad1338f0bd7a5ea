# SPDX-License-Identifier: GPL-3.0-or-later
"""A lying guest: what it answers ends its own question alone, and by the deadline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from dosvm.hypervisor import readiness
from dosvm.hypervisor.agent import addresses
from dosvm.hypervisor.readiness import NotReady, _knock
from dosvm.model.readiness import Check, Http
from dosvm.model.types import Address, Name

HERE = Address("127.0.0.1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Peer:
    """A server of the guest. After enough nonsense for any deadline of these tests it answers well."""

    def __init__(self, listening: socket.socket, nonsense: bytes, pause: float, times: int) -> None:
        self.asked, self.stopped = 0, threading.Event()
        self._listening, self._nonsense, self._pause, self._times = listening, nonsense, pause, times

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.asked += 1
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for _ in range(self._times):
                connection.sendall(self._nonsense)
                if self.stopped.wait(self._pause):
                    return
            connection.sendall(OK)


@contextmanager
def peer(nonsense: bytes, pause: float = 0.05, times: int = 60) -> Iterator[tuple[int, Peer]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served = Peer(listening, nonsense, pause, times)
        threading.Thread(target=served.serve, daemon=True).start()
        try:
            yield listening.getsockname()[1], served
        finally:
            served.stopped.set()


class Guest:
    """A domain, by what its sources of addresses answer."""

    def __init__(self, **sources: list[str]) -> None:
        self._sources = sources

    def interfaceAddresses(self, source: int) -> dict[str, Any]:
        name = {0: "lease", 1: "agent", 2: "arp"}[source]
        return {"eth0": {"addrs": [{"addr": address} for address in self._sources.get(name, ())]}}


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PATIENCE", 0.3)


def check(port: int, *known: Address) -> Check:
    return Check(name=Name("db"), http=Http(port=port), addresses=known)


@pytest.mark.parametrize(
    "nonsense", [b"HTTP/1.1 100 Continue\r\n\r\n", b"H"], ids=["100 Continue for ever", "a byte at a time"]
)
def test_a_guest_that_never_comes_to_its_answer_is_not_ready(nonsense: bytes) -> None:
    with peer(nonsense) as (port, _), pytest.raises(NotReady):
        _knock(Guest(), check(port, HERE))


def test_a_guest_that_answers_is_ready() -> None:
    with peer(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.0, times=1) as (port, _):
        _knock(Guest(), check(port, HERE))


@pytest.mark.parametrize("source", ["agent", "arp"])
def test_an_address_that_the_guest_names_is_not_asked(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(socket, "create_connection", lambda where, timeout: asked.append(where[0]) or socket.socket())
    with pytest.raises(NotReady, match="no address that is declared or leased"):
        _knock(Guest(**{source: ["192.0.2.7"]}), Check(name=Name("db"), tcp=80))
    _knock(Guest(lease=["192.0.2.8"]), Check(name=Name("db"), tcp=80))
    assert asked == ["192.0.2.8"]


def test_an_address_that_swallows_everything_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr(readiness, "_fetch", refusing(given))
    with pytest.raises(NotReady):
        _knock(Guest(), check(80, *(Address(f"192.0.2.{number}") for number in range(1, 13))))
    assert sum(given) <= readiness.PATIENCE + 0.012
    assert len(given) == 12


def refusing(given: list[float]) -> Callable[[str, Http, float], None]:
    """In place of the network; `given` is what each address may take."""

    def fetch(address: str, wanted: Http, seconds: float) -> None:
        given.append(seconds)
        threading.Event().wait(seconds)
        raise OSError("timed out")

    return fetch


def test_what_a_guest_answers_is_shown_without_control_characters() -> None:
    with peer(b"HTTP/\x1b[2J\x1b]0;owned\x07 200\r\n\r\n", times=1) as (port, _), pytest.raises(NotReady) as refused:
        _knock(Guest(), check(port, HERE))
    assert str(refused.value).isprintable()


def test_an_address_of_an_agent_that_is_none_is_left_out() -> None:
    assert list(addresses(Guest(agent=["not an address", "192.0.2.9", ""]), "AGENT")) == ["192.0.2.9"]
