# SPDX-License-Identifier: GPL-3.0-or-later
"""When a machine counts as ready for those that come after it, and what the `readiness` module is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import Connection
from .types import Address, Name


@declaration
class Http:
    """A page that a machine answers with."""

    port: int = option("Port it is asked at.", default=80, low=1, high=65535)
    path: str = option("What is asked for.", default="/", example="/health")
    status: int | None = option(
        "Status it must answer with; any from 200 to 399 when not given.", default=None, low=100, high=599
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.path.startswith("/"):
            yield "path", f"{self.path!r} does not begin with a slash, write /{self.path}"
        elif not self.path.isascii() or any(character <= " " or character == "\x7f" for character in self.path):
            yield "path", f"{self.path!r} has characters that a path cannot have, write them like %20"


@declaration
class Readiness:
    """How a running machine is found to be ready, and how long that may take. One of the three ways, or none."""

    ready: Literal["running", "agent"] | None = option(
        "Ready when it is `running`, or when its guest agent answers. That it is running, when nothing else is asked for.",
        default=None,
    )
    tcp: int | None = option("Ready when this port takes connections.", default=None, low=1, high=65535)
    http: Http | None = option("Ready when it answers with a page.", default=None)
    within: int = option(
        "How many seconds it has to become ready; what comes after it is not started in this run when it has not.",
        default=300,
        low=1,
        high=3600,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        ways = [name for name in ("ready", "tcp", "http") if getattr(self, name) is not None]
        if len(ways) > 1:
            yield ways[-1], f"write one of {' and '.join(ways)}"

    @property
    def wish(self) -> str:
        """In words, what a machine has to do."""
        if self.tcp is not None:
            return f"take connections on tcp {self.tcp}"
        if self.http is not None:
            status = "" if self.http.status is None else f" with {self.http.status}"
            return f"answer http :{self.http.port}{self.http.path}{status}"
        return "answer by its agent" if self.ready == "agent" else "run"


@declaration
class Check(Readiness):
    """One machine that others wait for. `gate` is the number of what they declared."""

    name: Name = option("The machine.")
    off: bool = option("Whether it must be off, or gone, instead.", default=False)
    gate: int = option("Given back with the answer.", default=0)
    addresses: tuple[Address, ...] = option(
        "Its addresses; those that its networks have leased to it when not given.", default=()
    )


@declaration
class Waiting(Connection):
    """What the `readiness` module takes."""

    checks: tuple[Check, ...] = option("The machines of this host, and when each counts as ready.")
    waited: float = option("Seconds that earlier calls have waited already.", default=0.0)
    seconds: float | None = option(
        "How long one call may wait before it reports back; until all is over when not given.", default=None
    )
