# SPDX-License-Identifier: GPL-3.0-or-later
"""How a secret comes to be as declared. Its value is set before the note that says which value it has."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.address import Address
from ..model.secret import Secret
from ..xml.secret import SHAPE, read_description, render
from .action import Define, SetSecretValue
from .definition import change, classified, creation, definition_of, differ, foreign, redefined, with_own_uuid
from .disruption import Disruption
from .plan import Context, Observed, Plan


def plan(secret: Secret, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one secret."""
    address = Address("secret", secret.name)
    noted = None if observed is None else read_description(observed.xml.findtext("description")).digest
    digest = context.digests.get(secret.name)
    difference = differ(
        with_own_uuid(render(secret, digest or noted), address, observed, context), definition_of(observed), SHAPE
    )
    if observed is None and digest is None:
        problem = f"{address} has no value: give it in dos_secrets.{secret.name}.value, from a vault"
        return Plan(address=address, verdict="conflict", problem=problem)
    if observed is None:
        bare = differ(with_own_uuid(render(secret), address, observed, context), None, SHAPE)
        return creation(
            address,
            difference,
            redefined(address, bare),
            SetSecretValue(address=address),
            redefined(address, difference),
        )
    if (refused := foreign(address, difference, observed, context)) is not None:
        return refused
    changes = classified(difference.changes, {}, Disruption.LIVE)
    if digest not in (None, noted):
        return change(
            address, difference, [SetSecretValue(address=address), redefined(address, difference)], changes=changes
        )
    actions: list[Define] = [redefined(address, difference)] if changes else []
    return change(address, difference, actions, changes=changes)


def needs(secret: Secret) -> Iterator[Address]:
    """A secret stands on nothing."""
    yield from ()
