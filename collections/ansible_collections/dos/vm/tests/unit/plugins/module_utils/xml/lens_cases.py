# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases: a folder of `cases/<kind>/` each, with a declaration and, where there is one, what a host was observed to have.

The kind names the declaration class of `dosvm.model` and the lens of `dosvm.xml`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from dosvm.model.decode import decode
from dosvm.xml.build import parse
from dosvm.xml.compare import Change, compare
from dosvm.xml.merge import merge
from dosvm.xml.normalize import normalize

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One folder."""

    folder: Path

    @property
    def kind(self) -> str:
        return self.folder.parent.name

    @property
    def lens(self) -> ModuleType:
        return importlib.import_module(f"dosvm.xml.{self.kind}")

    @property
    def type(self) -> type:
        return getattr(importlib.import_module(f"dosvm.model.{self.kind}"), self.kind.capitalize())

    @property
    def declaration(self) -> Any:
        return decode(self.type, yaml.safe_load((self.folder / "declaration.yml").read_text()))

    @property
    def declared(self) -> Any:
        return normalize(self.lens.render(self.declaration), self.lens.SHAPE)

    @property
    def observed(self) -> Any:
        path = self.folder / "observed.xml"
        return normalize(parse(path.read_text()), self.lens.SHAPE) if path.exists() else None

    @property
    def desired(self) -> Any:
        return merge(self.declared, self.observed, self.lens.SHAPE)

    @property
    def changes(self) -> list[Change]:
        return [] if self.observed is None else list(compare(self.observed, self.desired, self.lens.SHAPE))

    def __str__(self) -> str:
        return f"{self.kind}/{self.folder.name}"


def cases(kind: str = "*") -> list[Case]:
    """Every case, or those of one kind."""
    return [Case(path.parent) for path in sorted(CASES.glob(f"{kind}/*/declaration.yml"))]
