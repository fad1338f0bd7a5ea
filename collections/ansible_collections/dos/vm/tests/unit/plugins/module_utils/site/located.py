# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML whose values remember the line they were written at, as Ansible's do; flags and nothing cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dosvm.errors import Origin


class _Text(str):
    origin: Origin


class _Whole(int):
    origin: Origin


class _Real(float):
    origin: Origin


class _Map(dict[Any, Any]):
    origin: Origin


class _List(list[Any]):
    origin: Origin


LOCATED: dict[type, type] = {str: _Text, int: _Whole, float: _Real, dict: _Map, list: _List}


def where(value: object) -> Origin | None:
    """The origin of a value that this loader made."""
    return getattr(value, "origin", None)


def read(text: str, label: str = "site.yml") -> Any:
    """The value of one document. Aliases stand for the same object, as PyYAML does it."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _Made(label).of(node)
    finally:
        loader.dispose()


class _Made:
    """Makes values of nodes, each node once."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._plain = yaml.SafeLoader("")
        self._known: dict[int, Any] = {}

    def of(self, node: yaml.Node) -> Any:
        if id(node) not in self._known:
            self._known[id(node)] = self._new(node)
        return self._known[id(node)]

    def _new(self, node: yaml.Node) -> Any:
        match node:
            case yaml.MappingNode():
                value: Any = _Map()
                self._known[id(node)] = value
                value.update((self.of(key), self.of(held)) for key, held in node.value)
            case yaml.SequenceNode():
                value = _List()
                self._known[id(node)] = value
                value.extend(self.of(held) for held in node.value)
            case _:
                plain = self._plain.construct_object(node)
                kind = LOCATED.get(type(plain))
                value = plain if kind is None else kind(plain)
        if type(value) in LOCATED.values():
            value.origin = Origin(self._label, node.start_mark.line + 1)
        return value


def read_files(folder: Path) -> dict[str, Any]:
    """The variables of every YAML file of a folder, each named by its file."""
    variables: dict[str, Any] = {}
    for file in sorted(folder.glob("*.yml")):
        variables.update(read(file.read_text(), file.name) or {})
    return variables
