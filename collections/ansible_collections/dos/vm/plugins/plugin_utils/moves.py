# SPDX-License-Identifier: GPL-3.0-or-later
"""The moves of one run, by what somebody asked for: to empty hosts, to return, by name; otherwise what rules force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.compile.moves import asked_for, forced, left_behind, limits
from ansible_collections.dos.vm.plugins.module_utils.compile.placing import Situation
from ansible_collections.dos.vm.plugins.module_utils.compile.states import HostState
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.model.migration import Ways
from ansible_collections.dos.vm.plugins.module_utils.placement.moves import Move, Relocation, back, drain

WAYS = "dos_migration"
ADDRESSES = ("dos_migration_address", "ansible_host")


def relocation(held: Situation, states: Mapping[str, HostState], wish: Mapping[str, Any], ways: Ways) -> Relocation:
    """What is to move. Raises `DeclarationError` for a wish that names what there is not."""
    if wish.get("drain"):
        return drain(held.fleet, held.requests, wish["drain"], limits(held, ways))
    if wish.get("back") is not None:
        return back(held.fleet, held.requests, [_move(told) for told in wish["back"]], limits(held, ways))
    if wish.get("vms"):
        return asked_for(held, wish["vms"], wish.get("to"), ways)
    found = forced(held, ways)
    return replace(found, moves=(*left_behind(states), *found.moves))


def ways_of(templar: Any, variables: Mapping[str, Any]) -> Ways:
    """How VMs are moved on this site. Raises `DeclarationError` for what is no way."""
    return decode(Ways, templar.template(variables.get(WAYS) or {}), path=WAYS)


def in_service(states: Mapping[str, HostState], hosts: Iterable[str]) -> dict[str, HostState]:
    """The hosts, some of them as if nobody had noted that they are in maintenance: who empties one counts it in first."""
    chosen = set(hosts)
    return {
        host: replace(state, facts=replace(state.facts, maintenance=None)) if host in chosen else state
        for host, state in states.items()
    }


def plain(moves: Iterable[Move], hostvars: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each move as `dos.vm.migrate` takes it, and why. Ansible keeps no strings of a type of ours."""
    for move in moves:
        yield {
            "domain": str(move.vm),
            "source": str(move.source),
            "target": str(move.target),
            "address": _address(move.target, hostvars.get(move.target, {})),
            "why": move.why,
        }


def _address(host: str, variables: Mapping[str, Any]) -> str:
    """Where other hosts reach a host: the address made for it, else the one that Ansible uses."""
    return next((str(variables[name]) for name in ADDRESSES if variables.get(name)), host)


def _move(told: Mapping[str, Any]) -> Move:
    return Move(vm=told["domain"], source=told["source"], target=told["target"], why="")
