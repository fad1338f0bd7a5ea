# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site can lose: reckoned in every plan, and refused where the site says that it must not be so (N+1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import DeclarationError, Problem
from ..placement.proof import Loss, losses
from ..placement.room import HOST
from ..placement.words import listed
from .placing import Situation

MOST_TOLD = 5


def reckoned(held: Situation) -> list[Loss]:
    """What the loss of each host, and of each group that has a key, would mean. Nothing for a site with one host,
    or none, and where hosts were not asked."""
    if held.unasked or (sum(room.answers for room in held.fleet.rooms) < 2 and not held.site.placement.survives):
        return []
    return losses(held.fleet, held.requests)


def refuse_broken_promises(held: Situation) -> None:
    """Raise for every loss that would leave a machine without a host, where `dos_placement.survives` makes that an error."""
    promised = [key for key, word in (held.site.placement.survives or {}).items() if word == "error"]
    found = losses(held.fleet, held.requests, map(str, promised)) if promised else ()
    problems = [Problem(f"dos_placement.survives.{loss.key}", sentence(loss)) for loss in found if loss.homeless]
    if problems:
        raise DeclarationError(problems)


def sentence(loss: Loss) -> str:
    """What a loss would mean, in words."""
    homeless = f"{len(loss.homeless)} of {loss.machines} machines without a host: {listed(loss.homeless)}"
    return f"the loss of {loss.key} {loss.name} would leave {homeless}"


def summary(found: Sequence[Loss]) -> Iterator[tuple[str, bool]]:
    """A few lines for each key, the worst first, and whether each is good news."""
    for key in dict.fromkeys(loss.key for loss in found):
        of_key = [loss for loss in found if loss.key == key]
        tied = len({vm for loss in of_key for vm in loss.tied})
        aside = f" ({tied} can be nowhere but on theirs)" if tied else ""
        bad = sorted((loss for loss in of_key if loss.homeless), key=lambda loss: -len(loss.homeless))
        if not bad:
            word = "any host" if key == HOST else f"any {key}"
            yield f"N+1: the loss of {word} leaves every machine another host{aside}", True
        for loss in bad[:MOST_TOLD]:
            yield f"N+1: {sentence(loss)}{aside}", False
        if len(bad) > MOST_TOLD:
            yield f"N+1: and that of {len(bad) - MOST_TOLD} more of {len(of_key)}", False
