# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the whole site that an operator switches on."""

from __future__ import annotations

from ..model.declaration import declaration, option


@declaration
class System:
    """Rules of the whole site that are off until they are switched on (`dos_system`)."""

    one_private_network_per_host: bool = option(
        "Whether a host may have one network at most of types V(isolated), V(nat) and V(route), all of them together.",
        spec="NET-03",
        default=False,
    )
