# SPDX-License-Identifier: GPL-3.0-or-later
"""How the guests of a host are: why one stands still or went off, and whether the agent in one that runs answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..plan.plan import Observed
from ..xml.devices import AGENT
from .agent import Heard, heard
from .connection import allowing, open_connection, saying

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

CHANNEL = f"devices/channel/target[@name={AGENT!r}]"
DISK_ERROR, NO_ROOM = "disk error", 2  # VIR_DOMAIN_DISK_ERROR_NO_SPACE
# virDomainState and the reasons within it that somebody should look into.
REASONS: Mapping[tuple[int, int], str] = {
    (3, 5): DISK_ERROR,
    (3, 6): "watchdog",
    (3, 10): "crashed",
    (3, 13): "migration failed",
    (5, 3): "crashed",
    (5, 6): "failed to start",
    (6, 1): "panicked",
}


def health(uri: str, found: Iterable[Observed]) -> dict[str, dict[str, Any]]:
    """By machine of ours, in words: the `reason` for the state it is in, and what its `agent` does, where it has one; and
    the `addresses` that the agent tells.

    On a connection of its own: libvirt serves a few calls of one at once, and agents that hang would hold up the rest.
    """
    machines = [seen for seen in found if seen.address.kind == "domain" and seen.ours]
    with closing(open_connection(uri)) as connection:
        with saying("look how the guests are"):
            domains = {domain.name(): domain for domain in connection.listAllDomains()}
            states = {name: tuple(domain.state()) for name, domain in domains.items()}
        ports = {seen.address.name: port for seen in machines if (port := _port(seen.live)) is not None}
        asked = [name for name, port in ports.items() if port == "connected" and _runs(states.get(name))]
        answers = heard(connection, asked) if asked else {}
        return {
            seen.address.name: {
                "reason": _reason(states.get(seen.address.name, (0, 0)), domains.get(seen.address.name)),
                "agent": _agent(seen.address.name, ports, answers),
                "addresses": list(answers.get(seen.address.name, Heard()).addresses),
            }
            for seen in machines
        }


def _reason(state: tuple[int, ...], domain: Any) -> str:
    """In words; of a disk error with the disks, and whether it was room that they lacked."""
    words = REASONS.get((state[0], state[1]), "")
    if words != DISK_ERROR:
        return words
    disks: list[str] = []
    with allowing("VIR_ERR_NO_DOMAIN", "VIR_ERR_OPERATION_INVALID"):  # it goes on, or ended
        disks = [f"{disk}{' has no room' if why == NO_ROOM else ''}" for disk, why in domain.diskErrors().items()]
    return f"{words}: {', '.join(sorted(disks))}" if disks else words


def _agent(name: str, ports: Mapping[str, str], answers: Mapping[str, Heard]) -> str:
    if name not in ports:
        return ""
    if name in answers:
        return answers[name].silence or "answers"
    return "is not asked" if ports[name] == "connected" else "is not connected"


def _port(live: Element | None) -> str | None:
    """Whether the guest has opened the agent's channel, as libvirt says it; `None` where there is none."""
    port = None if live is None else live.find(CHANNEL)
    return None if port is None else port.get("state", "disconnected")


def _runs(state: tuple[int, ...] | None) -> bool:
    return state is not None and state[0] in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED)
