# SPDX-License-Identifier: GPL-3.0-or-later
"""A visit to a machine's console: a password for a short time, and where the console is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import Connection
from .types import Name

MOST = 8  # VNC takes no longer password, and cuts what is longer without a word


@declaration
class Visit(Connection):
    """What the `console` module takes."""

    vm: Name = option("The machine; it must run.", spec="VM-27")
    order: Literal["open", "close"] = option(
        "V(open) lays a password on its console that ends by itself; V(close) ends it now and lays the declared one on.",
        default="open",
    )
    password: str | None = option(
        "The password, eight characters at most. M(dos.vm.console) makes one on the controller when not given.",
        spec="GFX-T1.4",
        default=None,
        secret=True,
    )
    seconds: int = option(
        "How long a connection may be begun with it; one that stands goes on.",
        spec="GFX-T1.5",
        default=300,
        low=5,
        high=86400,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.password is not None and not (0 < len(self.password) <= MOST and self.password.isascii()):
            yield "password", f"must be 1 to {MOST} ASCII characters, which is all that VNC takes"
