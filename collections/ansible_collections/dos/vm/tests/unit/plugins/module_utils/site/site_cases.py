# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of `cases/`: YAML files, and in `errors.txt` what is said about them.

The inventory has the hosts h1, h2 and h3; the last one is known by a name and not by an address. A case whose errors are empty is a site that is accepted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from located import read_files, where

from dosvm.errors import DeclarationError
from dosvm.site.load import load
from dosvm.site.site import Site
from dosvm.site.validate import warnings

FOLDER = Path(__file__).parent / "cases"
HOSTS = ("h1", "h2", "h3")
ADDRESSES = {"h1": "10.77.0.11", "h2": "10.77.0.12", "h3": "h3.example"}


class Case(NamedTuple):
    """One folder."""

    folder: Path

    def __str__(self) -> str:
        return self.folder.name

    def site(self) -> Site:
        return load(read_files(self.folder), hosts=HOSTS, where=where, address_of=ADDRESSES.get)

    def told(self) -> list[str]:
        """What an operator is told: every problem, or every warning."""
        try:
            return [f"warning: {text}" for text in warnings(self.site())]
        except DeclarationError as refused:
            return [str(problem) for problem in refused.problems]


def cases() -> list[Case]:
    return [Case(folder) for folder in sorted(FOLDER.iterdir())]
