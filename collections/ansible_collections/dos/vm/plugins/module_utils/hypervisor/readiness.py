# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until machines are ready for those that come after them: they run, their agent answers, a port or a page does.

Asked from the host that a machine runs on, which is on every network that it is on, or routes to it. A guest answers what it
wants: only addresses that are declared or leased are asked, and a whole question has one deadline.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from .._thirdparty import libvirt
from ..errors import HypervisorError, printable
from ..model.readiness import Check, Http, Waiting
from .agent import addresses, silence
from .connection import allowing, saying
from .libvirt import LibvirtHypervisor
from .power import state_of

AT_ONCE = 16  # machines that are asked side by side
STEP = 0.5  # seconds between two looks
PATIENCE = 3.0  # seconds for one question, at all addresses of a machine
# What a machine that cannot be asked in one way answers with.
UNKNOWN = (
    "VIR_ERR_AGENT_UNRESPONSIVE", "VIR_ERR_ARGUMENT_UNSUPPORTED", "VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_SUPPORT",
    "VIR_ERR_OPERATION_UNSUPPORTED", "VIR_ERR_INTERNAL_ERROR", "VIR_ERR_NO_NETWORK", "VIR_ERR_OPERATION_FAILED",
)  # fmt: skip
ON = ("running", "idle", "paused", "in shutdown", "pmsuspended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unready:
    """A machine that was not ready, and why."""

    gate: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a call came to; `pending` are those that may become ready yet, after `waited` seconds."""

    waited: float
    unready: tuple[Unready, ...] = ()
    pending: tuple[Unready, ...] = ()


class NotReady(Exception):
    """It is not ready, and why; `final` when waiting would not help."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def wait(asked: Waiting, hypervisor: LibvirtHypervisor, clock: Callable[[], float] = time.monotonic) -> Told:
    """Ask until every machine is ready, or its time is over, or that of this call is."""
    begun = clock()
    ends = None if asked.seconds is None else begun + asked.seconds
    waiting = dict.fromkeys(asked.checks, "")
    late: dict[Check, str] = {}
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        while True:
            answers = dict(zip(waiting, pool.map(lambda check: _ask(hypervisor, check), waiting), strict=True))
            waited = asked.waited + clock() - begun
            over = {check for check, answer in answers.items() if answer and (answer.final or waited >= check.within)}
            late |= {check: str(answers[check]) for check in over}
            waiting = {check: str(answer) for check, answer in answers.items() if answer and check not in over}
            if not waiting or (ends is not None and clock() + STEP > ends):
                return Told(waited=waited, unready=_named(late), pending=_named(waiting))
            time.sleep(STEP)


def _named(found: dict[Check, str]) -> tuple[Unready, ...]:
    return tuple(Unready(gate=check.gate, name=str(check.name), reason=why) for check, why in found.items())


def _ask(hypervisor: LibvirtHypervisor, check: Check) -> NotReady | None:
    try:
        _look(hypervisor, check)
    except NotReady as answer:
        return answer
    except libvirt.libvirtError as failed:
        return NotReady(printable(str(failed)))  # of one machine alone
    return None


def _look(hypervisor: LibvirtHypervisor, check: Check) -> None:
    """Raises `NotReady`."""
    try:
        with saying(f"look at domain {check.name}"):
            domain = hypervisor._connection.lookupByName(check.name)
            state = state_of(domain)
    except HypervisorError as failed:
        if check.off and failed.code == libvirt.VIR_ERR_NO_DOMAIN:
            return
        raise NotReady(str(failed), final=True) from None
    if check.off:
        if state in ON:
            raise NotReady(f"it is {state}")
        return
    if state not in ON:
        raise NotReady(f"it is {state}", final=True)
    if check.ready == "agent":
        if why := silence(domain):
            raise NotReady(f"its agent {why}")
    elif check.tcp is not None or check.http is not None:
        _knock(domain, check)
    elif state != "running":
        raise NotReady(f"it is {state}")


def _knock(domain: Any, check: Check) -> None:
    """Some address answers. Raises `NotReady` with what each of them did instead."""
    known = [str(address) for address in check.addresses] or list(dict.fromkeys(_leased(domain)))
    if not known:
        raise NotReady("it has no address that is declared or leased")
    refusals = []
    ends = time.monotonic() + PATIENCE
    for index, address in enumerate(known):
        # What is left is shared, so that an address which swallows everything leaves time for the others.
        seconds = max(0.001, (ends - time.monotonic()) / (len(known) - index))
        try:
            if check.http is not None:
                _fetch(address, check.http, seconds)
            else:
                socket.create_connection((address, int(check.tcp or 0)), timeout=seconds).close()
            return
        except (OSError, http.client.HTTPException, NotReady) as refused:
            refusals.append(f"{address}: {_words(refused)}")
    raise NotReady("; ".join(refusals))


def _words(refused: Exception) -> str:
    return printable(getattr(refused, "strerror", None) or str(refused) or type(refused).__name__).lower()


def _fetch(address: str, wanted: Http, seconds: float) -> None:
    connection = http.client.HTTPConnection(address, wanted.port, timeout=seconds)
    try:
        connection.connect()
        with _hung_up_after(connection.sock, seconds):
            connection.request("GET", wanted.path, headers={"Connection": "close"})
            status = connection.getresponse().status
    finally:
        connection.close()
    if not (status == wanted.status if wanted.status else 200 <= status < 400):
        raise NotReady(f"answers with {status}")


@contextmanager
def _hung_up_after(connected: socket.socket, seconds: float) -> Iterator[None]:
    """A limit for all that is read meanwhile; that of a socket is for each read, and a guest may answer a byte at a time."""

    def hang_up() -> None:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _leased(domain: Any) -> Iterator[str]:
    """By the leases of its networks. What its agent or the host's neighbours answer, the guest has chosen."""
    with allowing(*UNKNOWN):
        yield from addresses(domain, "LEASE")
