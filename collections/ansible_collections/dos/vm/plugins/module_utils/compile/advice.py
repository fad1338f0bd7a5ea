# SPDX-License-Identifier: GPL-3.0-or-later
"""What is allowed, probably not meant, and only seen once the hosts have told of themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..placement.words import listed
from .placing import Situation


def not_asked(held: Situation) -> Iterator[str]:
    """The hosts that a limit leaves out, and what that means."""
    if held.unasked:
        stay = len(held.elsewhere)
        vms = f"; {stay} VM{' that was' if stay == 1 else 's that were'} placed there stay{'s as it is' if stay == 1 else ' as they are'}"
        yield f"not asked: {listed(sorted(held.unasked))}{vms if stay else ''}"


def unlike_members(held: Situation) -> Iterator[str]:
    """HGRP-05: the hosts of a group have processors of one model, so that machines can move between them while they run."""
    for name, group in held.site.host_groups.items():
        if group.key is not None:
            continue  # a rack is not a range to move in
        hosts: defaultdict[str, list[str]] = defaultdict(list)
        for host in held.site.members(name):
            room = held.fleet.by_host.get(host)
            if room is not None and room.answers and room.cpu_model:
                hosts[f"{room.arch} {room.cpu_model}"].append(str(host))
        if len(hosts) > 1:
            told = "; ".join(f"{model} on {listed(found)}" for model, found in sorted(hosts.items()))
            yield f"dos_host_groups.{name}: its hosts differ, and machines may not move between them: {told} (HGRP-05)"
