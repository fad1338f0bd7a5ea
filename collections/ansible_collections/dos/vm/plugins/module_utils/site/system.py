# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator says once for the whole site."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.declaration import declaration, option
from ..model.graphics import check_keymap
from ..model.types import Address
from .properties import Properties


@declaration
class System:
    """Rules of the whole site that are off until they are switched on, and what holds where machines say nothing (`dos_system`)."""

    one_private_network_per_host: bool = option(
        "Whether a host may have one network at most of types V(isolated), V(nat) and V(route), all of them together.",
        spec="NET-03",
        default=False,
    )
    console_listen: Address | None = option(
        "Address that consoles listen on where a machine does not say it; 127.0.0.1 when not given.",
        spec="DOMX-15",
        default=None,
    )
    console_keymap: str | None = option(
        "Keymap of consoles where a machine does not say it, such as en-us.", spec="DOMX-15", default=None
    )

    properties: Properties | None = option(
        "What machines have where neither their instance nor its image says it.", spec="DOMX-01", default=None
    )

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_keymap("console_keymap", self.console_keymap)
