# SPDX-License-Identifier: GPL-3.0-or-later
"""How a secret comes to be as declared. Its value is set before the note that says which value it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from ..model.address import Address
from ..model.secret import Secret
from ..xml.compare import Change
from ..xml.mask import HIDDEN
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
    told = [change for held in difference.changes for change in _told(held)]
    changes = classified(told, {}, Disruption.LIVE)
    if digest not in (None, noted):
        return change(
            address, difference, [SetSecretValue(address=address), redefined(address, difference)], changes=changes
        )
    actions: list[Define] = [redefined(address, difference)] if changes else []
    return change(address, difference, actions, changes=changes)


def _told(held: Change) -> Iterator[Change]:
    """A change of what we noted, in words: the digest of a value is not for the eyes of others."""
    before, after = read_description(held.before), read_description(held.after)
    if held.xpath != "secret/description" or before.digest == after.digest is None:
        yield held
        return
    if before.text != after.text:
        op: Literal["add", "remove", "replace"] = (
            "add" if before.text is None else "remove" if after.text is None else "replace"
        )
        yield replace(held, op=op, before=before.text, after=after.text)
    if before.digest != after.digest or before.text == after.text:
        yield replace(held, op="replace", path="value", before=HIDDEN, after=HIDDEN)


def needs(secret: Secret) -> Iterator[Address]:
    """A secret stands on nothing."""
    yield from ()
