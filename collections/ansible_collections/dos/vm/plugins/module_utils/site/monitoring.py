# SPDX-License-Identifier: GPL-3.0-or-later
"""How often hosts are looked at, for the whole site."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.declaration import declaration, option


@declaration
class Monitoring:
    """How often hosts are looked at (`dos_monitoring`). Seconds."""

    sample: int = option(
        "Between two looks at a host, for who looks again and again (C(dos.vm.hosts) with C(dos_times)).",
        spec="SYS-T1.3",
        default=30,
        low=5,
        high=1800,
    )
    history: int = option(
        "Between two rows of a host's history; more than C(sample).", spec="SYS-T1.4", default=60, low=10, high=3600
    )
    pending: int = option(
        "How long a machine that is to be on may be without a host before that is told in every run.",
        spec="SCHED-13",
        default=600,
        low=0,
    )
    missed: int = option(
        "How many looks in a row a host may leave without an answer before it is called stopped.",
        spec="SYS-T1.7",
        default=3,
        low=1,
        high=10,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.history <= self.sample:
            yield "history", f"{self.history} is not more than sample, write {self.sample + 1} or more"
