# SPDX-License-Identifier: GPL-3.0-or-later
"""One answer of a host with every field that the controller reads, and the ways in which it can be wrong."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]
NONSENSE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    2**70,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "9" * 400,
    "\x1b[2J\x1b]0;owned\x07",
    "\ud800",
    "a\nb",
    [],
    [None],
    ["x"],
    [[]],
    {},
    {"x": 1},
)


def domain(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "name": name,
        "active": True,
        "autostart": True,
        "ours": True,
        "state": "running",
        "uuid": "00000000-0000-4000-8000-000000000009",
        "orders": {
            "number": 2,
            "power": "off",
            "overrides": [{"power": "off", "number": 2, "until": 2e9, "against": "on", "by": "x"}],
        },
        "vcpus": 1,
        "id": "7",
        "memory": 2**28,
        "project": "p",
        "origin": f"dos_instances.{name}.vms.{name}",
        "epoch": "1",
        "created": "x",
        "image": None,
        "macs": ["52:54:00:00:00:09"],
        "console": None,
        "interfaces": [
            {"mac": "52:54:00:00:00:09", "network": "lan", "bridge": None, "filter": "f", "ips": ["10.1.0.9"]}
        ],
        "writes": [
            {
                "name": "root",
                "pool": "data",
                "protocol": None,
                "servers": ["s"],
                "shareable": False,
                "path": "/srv/root",
                "marks": ["file:1:2"],
            }
        ],
        **changed,
    }


def looked(facts: dict[str, Any]) -> dict[str, Any]:
    """What `dos.vm.host` answers of a host with one of everything; `facts` are the host's own."""
    brief = {"active": True, "autostart": True, "ours": True}
    address = {"mac": "52:54:00:00:00:08", "ip": "10.1.0.8", "name": "b", "hostname": "b", "expires": 2_000_000_000}
    return {
        **facts,
        "ours": ["domain a"],
        "unmanaged": ["network default"],
        "domains": [domain("a")],
        "health": {"a": {"reason": "", "agent": "answers", "addresses": ["10.1.0.9"]}},
        "pools": [{"name": "data", **brief, "capacity": 2**40, "allocation": 2**30, "available": 2**39}],
        "networks": [{"name": "lan", **brief, "leases": [address], "reservations": [address]}],
        "gateways": [{"name": "lan", **brief, "reservations": [address]}],
        "tunnels": [{"bridge": "b0", "id": 7, "port": 4789, "local": "192.0.2.1", "peers": ["192.0.2.2"]}],
        "volumes": [{"name": "data/root", **brief, "capacity": "1073741824", "allocation": "0", "path": "/srv/root"}],
        "nwfilters": [{"name": "f", **brief}],
        "secrets": [{"name": "s", **brief}],
    }


def paths(value: Any, before: Path = ()) -> Iterator[Path]:
    """Where something can be wrong: every field and entry."""
    steps: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*before, step)
        yield from paths(inner, (*before, step))


def without(answer: dict[str, Any], path: Path) -> dict[str, Any]:
    changed = copy.deepcopy(answer)
    del _parent(changed, path)[path[-1]]
    return changed


def replaced(answer: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(answer)
    _parent(changed, path)[path[-1]] = copy.deepcopy(value)
    return changed


def _parent(answer: Any, path: Path) -> Any:
    for step in path[:-1]:
        answer = answer[step]
    return answer


def mutations(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every field missing, and every field with every kind of nonsense."""
    for path in paths(answer):
        yield without(answer, path)
        for value in NONSENSE:
            yield replaced(answer, path, value)


def several(answer: dict[str, Any], number: int, seed: int) -> Iterator[dict[str, Any]]:
    """Answers with two to four fields wrong at once."""
    choose = random.Random(seed)
    for _ in range(number):
        changed = copy.deepcopy(answer)
        for _ in range(choose.randint(2, 4)):
            found = list(paths(changed))
            if found:
                path = choose.choice(found)
                changed = replaced(changed, path, choose.choice((*NONSENSE, changed)))
        yield changed
