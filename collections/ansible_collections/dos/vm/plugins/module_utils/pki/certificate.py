# SPDX-License-Identifier: GPL-3.0-or-later
"""What a certificate says, what it should say, and why a new one is needed. Pure: reading and signing are in `x509.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

#: A renewal that would not last this much longer is none: the authority ends first.
GAIN = timedelta(days=1)
HOST_NAME = re.compile(
    r"(?!\d+$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
#: Names of nobody in particular.
LOOPBACK = re.compile(r"localhost(\..*|\d.*)?|ip6-.*")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. `names` holds host names and addresses alike; `usage` is "server", "client", both or "".

    `public_key` is PEM, `subject` and `issuer` are spelled as in RFC 4514, times are in UTC.
    """

    subject: str
    issuer: str
    names: frozenset[str]
    usage: str
    begins: datetime
    ends: datetime
    public_key: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate should say; `ends` is when one issued now would."""

    subject: str
    names: frozenset[str]
    usage: str
    ends: datetime
    margin: timedelta


def reasons(held: Certificate | None, wanted: Wanted, *, public_key: str, signed: bool, now: datetime) -> Iterator[str]:
    """Why a certificate must be issued, each a sentence about the one that is there; nothing when it will do.

    `public_key` is that of the private key beside it, `signed` whether the present authority issued it.
    """
    if held is None:
        yield "there is none"
        return
    if held.public_key != public_key:
        yield "it does not fit the key beside it"
    if not signed:
        yield f"it was issued by {held.issuer}"
    for what in ("subject", "usage"):
        before, after = getattr(held, what), getattr(wanted, what)
        if before != after:
            yield f"its {what} is {before or 'not said'}, not {after}"
    yield from _names(held.names, wanted.names)
    if held.begins > now:
        yield f"it is not valid before {_day(held.begins)}"
    if held.ends - now < wanted.margin and wanted.ends - held.ends > GAIN:
        yield f"it {'ended' if held.ends <= now else 'ends'} on {_day(held.ends)}"


def _names(held: frozenset[str], wanted: frozenset[str]) -> Iterator[str]:
    if missing := sorted(wanted - held):
        yield f"it does not name {', '.join(missing)}"
    if unwanted := sorted(held - wanted):
        yield f"it names {', '.join(unwanted)}"


def _day(when: datetime) -> str:
    return when.strftime("%Y-%m-%d")


def names_of(declared: Iterable[str], told: Iterable[str], others: Iterable[str]) -> frozenset[str]:
    """The names a certificate may have: those the inventory declares, and those that the host calls itself.

    What a host answers about itself is believed unless it is the name of another one, whose place it could take with it. An
    address is never believed: the inventory has those. Names that no connection can be made to (an inventory name with a
    space, the loopback) are left out.
    """
    claimed = {_spelled(name) for name in others}
    believed = [name for name in told if _spelled(name) not in claimed and not is_address(name)]
    return frozenset(name for name in map(_spelled, (*declared, *believed)) if _is_reachable(name))


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_reachable(name: str) -> bool:
    if is_address(name):
        address = ip_address(name)
        return not (address.is_loopback or address.is_unspecified)
    return bool(HOST_NAME.fullmatch(name)) and not LOOPBACK.fullmatch(name)


def _spelled(name: str) -> str:
    return str(ip_address(name)) if is_address(name) else name.lower().rstrip(".")


def described(held: Certificate) -> str:
    """A few lines for people: what a `--diff` shows."""
    lines = (
        ("subject", held.subject), ("issuer", held.issuer), ("usage", held.usage), ("names", ", ".join(sorted(held.names))),
        ("ends", _day(held.ends)),
    )  # fmt: skip
    return "".join(f"{name}: {text}\n" for name, text in lines)
