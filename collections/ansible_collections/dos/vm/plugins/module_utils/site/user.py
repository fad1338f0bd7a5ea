# SPDX-License-Identifier: GPL-3.0-or-later
"""People: who may declare what. Their passwords are here as hashes only, and nobody has one that was not given one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.types import Name

# PHC string format, https://github.com/P-H-C/phc-string-format: version, memory in KiB, passes, lanes, salt, hash.
ARGON2 = re.compile(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{22,86}")
LEAST_MEMORY, LEAST_PASSES = 19456, 2  # KiB; OWASP's smallest recommendation for argon2id
HOW = "make one with ansible-playbook dos.vm.password (what is there is not shown)"


@declaration
class User:
    """Somebody who may declare something, by account."""

    role: Literal["system", "project"] = option(
        "system: configures the site and grants what it has. project: operates machines with what is granted.",
        spec="USER-01",
        default="project",
    )
    project: Name | None = option("The one project that is theirs to operate.", spec="USER-T1.8", default=None)
    frozen: bool = option("Whether they may do nothing for now.", spec="USER-T1.9", default=False)
    password: str | None = option(
        "Hash of the password, argon2id; without one nobody can log in by this account.",
        spec="USER-T1.7",
        default=None,
        secret=True,
    )
    aliases: tuple[str, ...] = option(
        "Addresses that their commits bear, beside email.", spec="USER-T1.2", default=(), example=["ada@example.org"]
    )
    label: str | None = option("Name in any script.", spec="USER-T1.1", default=None)
    phone: str | None = option("Telephone.", spec="USER-T1.3", default=None)
    email: str | None = option("E-mail; commits that bear it are theirs.", spec="USER-T1.4", default=None)
    address: str | None = option("Postal address.", spec="USER-T1.5", default=None)
    description: str | None = option("Free text.", spec="USER-T1.6", default=None)

    def known_as(self) -> Iterator[str]:
        """The addresses that commits of theirs bear."""
        if self.email:
            yield self.email.lower()
        yield from (alias.lower() for alias in self.aliases)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.password is not None:
            refused = refusal(self.password)
            if refused:
                yield "password", refused
        for at, alias in enumerate(self.aliases):
            if "@" not in alias:
                yield f"aliases[{at}]", f"{alias[:40]!r} is not an e-mail address"


def refusal(password: str) -> str | None:
    """Why a text may not stand where a password's hash is expected, or nothing. Never quotes it (LIMIT-04)."""
    found = ARGON2.fullmatch(password)
    if found is None:
        return f"is not an argon2id hash, {HOW}"
    if int(found[1]) < LEAST_MEMORY or int(found[2]) < LEAST_PASSES:
        return f"is a hash that is too quickly tried, {HOW}"
    return None
