# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters and weighers of the operator's own, from what a Python file of theirs defines (ARCH-19, SCHED-04).

    FILTERS = {"quiet_room": quiet_room}       # quiet_room(request, room) → None, or why the host will not do
    WEIGHERS = {"near_the_tape": near}         # near(request, room) → 0 to 1

A function may carry what the tables say of ours: `quiet_room.hangs_on = "instance"`, `quiet_room.moves = True`,
`near.multiplier = 2.0`. Reading the file is the caller's: this only takes what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from ..errors import DeclarationError
from .filters import Filter
from .request import Request
from .room import Room
from .weighers import Weigher

HangsOn = Literal["instance", "machine", "load"]


def own_filters(defined: Mapping[str, Any], file: str) -> list[Filter]:
    """The filters that a file defines. Raises `DeclarationError` for what cannot be one."""
    return [_filter(name, function, file) for name, function in _table(defined, "FILTERS", file).items()]


def own_weighers(defined: Mapping[str, Any], file: str) -> list[Weigher]:
    """The weighers that a file defines. Raises `DeclarationError` for what cannot be one."""
    return [_weigher(name, function, file) for name, function in _table(defined, "WEIGHERS", file).items()]


def _table(defined: Mapping[str, Any], name: str, file: str) -> Mapping[str, Callable[..., Any]]:
    table = defined.get(name, {})
    if not isinstance(table, Mapping) or not all(
        isinstance(key, str) and callable(held) for key, held in table.items()
    ):
        raise DeclarationError.at("dos_placement.plugins", f"{name} of {file} must map names to functions")
    if "FILTERS" not in defined and "WEIGHERS" not in defined:
        raise DeclarationError.at("dos_placement.plugins", f"{file} defines neither FILTERS nor WEIGHERS")
    return table


def _filter(name: str, function: Callable[[Request, Room], str | None], file: str) -> Filter:
    hangs_on: HangsOn = getattr(function, "hangs_on", "load")
    if hangs_on not in get_args(HangsOn):
        text = f"{name} of {file} hangs on {hangs_on!r}, write one of: {', '.join(get_args(HangsOn))}"
        raise DeclarationError.at("dos_placement.plugins", text)

    def accept(request: Request, room: Room) -> bool:
        return _asked(function, request, room, name, file) is None

    def tell(request: Request, room: Room) -> str:
        told = _asked(function, request, room, name, file)
        return "will do" if told is None else str(told)

    return Filter(name, accept, tell, hangs_on, bool(getattr(function, "moves", False)))


def _weigher(name: str, function: Callable[[Request, Room], float], file: str) -> Weigher:
    def score(request: Request, room: Room) -> float:
        told = _asked(function, request, room, name, file)
        if not isinstance(told, (int, float)):
            raise DeclarationError.at("dos_placement.plugins", f"{name} of {file} answers {told!r}, not a number")
        return min(1.0, max(0.0, float(told)))

    # It may read anything of the request, so each machine is weighed by itself.
    return Weigher(name, score, float(getattr(function, "multiplier", 1.0)), reads=lambda request: request.vm)


def _asked(function: Callable[[Request, Room], Any], request: Request, room: Room, name: str, file: str) -> Any:
    try:
        return function(request, room)
    except Exception as broken:  # whatever an operator's function raises is theirs to read, with its name
        text = f"{name} of {file} failed for {request.vm} on {room.host}: {type(broken).__name__}: {broken}"
        raise DeclarationError.at("dos_placement.plugins", text) from broken
