# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of the laws: a host as one slice made it, and the slice it should have next.

A folder of `cases/` each: `before.yml` and `after.yml` are slices, `context.yml` may say what the run may do (`allow`), which
values the secrets have (`values`, and `values_before`), which files and which `blocks` that are not blank the host has, which
LUNs every target offers (`offered`), and a slice of somebody else (`theirs`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Mark
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import Name
from dosvm.plan.devices import Device
from dosvm.plan.plan import Observed
from dosvm.xml.build import compact

CASES = Path(__file__).parent / "cases"
EVERYTHING = Permission(restart=True, recreate=True, prune=True)
VALUES = {"console": b"k0nsole", "disk": b"disk-key", "theirs": b"their-key"}


@dataclass
class Case:
    """A host before, and the call that the laws are about."""

    name: str
    before: Slice
    after: Slice
    permission: Permission = field(default_factory=Permission)
    values_before: Mapping[str, bytes] = field(default_factory=lambda: VALUES)
    values: Mapping[str, bytes] = field(default_factory=lambda: VALUES)
    files: Mapping[str, int] = field(default_factory=dict)
    blocks: Mapping[str, Device] = field(default_factory=dict)
    offered: tuple[str, ...] = ()
    theirs: Slice = field(default_factory=Slice)
    _host: FakeHypervisor | None = None

    def host(self) -> FakeHypervisor:
        """A host as it was before, of one's own."""
        if self._host is None:
            self._host = FakeHypervisor(files=self.files, blocks=self.blocks, offered=self.offered)
            for held in (self.theirs, self.before):
                outcome = converge(held, self._host, permission=Permission(), secrets=self.values_before)
                assert outcome.failures == (), str(outcome.failures)
            self._host.writes = 0
            self._host.performed.clear()
        return deepcopy(self._host)

    def converge(self, host: FakeHypervisor, **more: Any) -> Outcome:
        return converge(self.after, host, permission=self.permission, secrets=self.values, **more)

    def __str__(self) -> str:
        return self.name


def cases() -> list[Case]:
    """Every folder."""
    return [_read(path.parent) for path in sorted(CASES.glob("*/after.yml"))]


def _read(folder: Path) -> Case:
    path = folder / "context.yml"
    context: dict[str, Any] = yaml.safe_load(path.read_text()) if path.exists() else {}
    values = {name: VALUES | _values(context.get(name, {})) for name in ("values_before", "values")}
    return Case(
        name=folder.name,
        before=marked(decode(Slice, yaml.safe_load((folder / "before.yml").read_text()))),
        after=marked(decode(Slice, yaml.safe_load((folder / "after.yml").read_text()))),
        permission=decode(Permission, context.get("allow", {})),
        files=context.get("files", {}),
        blocks={path: Device(path, holds=tuple(told["holds"])) for path, told in context.get("blocks", {}).items()},
        offered=tuple(context.get("offered", ())),
        theirs=marked(decode(Slice, {"site": "elsewhere", **context.get("theirs", {})})),
        **values,
    )


def _values(given: Mapping[str, str]) -> dict[str, bytes]:
    return {name: value.encode() for name, value in given.items()}


def marked(held: Slice) -> Slice:
    """The slice as the front ends hand it over: each object bears the mark of its site."""
    mark = Mark(site=Name(held.site))
    return replace(
        held,
        bridges=tuple(replace(bridge, mark=mark) for bridge in held.bridges),
        gateways=tuple(replace(gateway, mark=mark) for gateway in held.gateways),
        networks=tuple(replace(network, mark=mark) for network in held.networks),
        domains=tuple(replace(domain, mark=mark) for domain in held.domains),
    )


# What libvirt draws by lot or counts up, and two hosts in the same state need not agree in.
LOTS = {
    r"<uuid>[0-9a-f]{8}-[0-9a-f]{4}-4[^<]*</uuid>": "<uuid/>",
    r"52:54:00:..:..:..": "(drawn)",
    r"vnet\d+": "(tap)",
    r'( port|websocket)="59\d\d"': r'\1="(port)"',
    r'(<domain[^>]*) id="\d+"': r'\1 id="(number)"',
}


def state(host: FakeHypervisor) -> dict[str, str]:
    """Everything the host has, so that two hosts that had other luck compare equal."""
    found = {str(address): _described(seen) for address, seen in host.observe("dos").items()}
    return found | {f"file {path}": compact(xml) for path, xml in host.files.items()}


def _described(seen: Observed) -> str:
    if seen.address.kind == "network" and seen.live is not None:
        _sort(seen.live)  # live updates add to the end, in the order in which the runs came
    texts = [compact(seen.xml), "" if seen.live is None else compact(seen.live)]
    for pattern, constant in LOTS.items():
        texts = [re.sub(pattern, constant, text) for text in texts]
    return "\n".join([f"active={seen.active} autostart={seen.autostart} persistent={seen.persistent}", *texts])


def _sort(element: Any) -> None:
    for child in element:
        _sort(child)
    element[:] = sorted(element, key=compact)


def exact(host: FakeHypervisor) -> dict[str, str]:
    """Everything the host has, bit for bit."""
    found = {
        f"{address}": f"{held.active} {held.autostart} {held.persistent} {compact(held.xml)} "
        f"{'' if held.live is None else compact(held.live)}"
        for address, held in host.objects.items()
    }
    return found | {f"file {path}": compact(xml) for path, xml in host.files.items()}
