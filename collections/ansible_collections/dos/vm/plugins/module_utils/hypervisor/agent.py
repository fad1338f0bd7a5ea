# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the agent in a guest answers, and which addresses it tells. Asked for the time, which every agent knows: a command of our own would taint the domain.

libvirt itself waits five seconds for an agent that is connected and says nothing, so it is asked in a thread that may be
left behind; an agent that is not connected is refused at once.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._thirdparty import libvirt

PATIENCE = 1.0  # seconds
# Refused by libvirt without an answer; any other refusal is the agent's own, and so an answer.
SILENT = {
    "VIR_ERR_AGENT_UNRESPONSIVE": "does not answer",
    "VIR_ERR_AGENT_UNSYNCED": "does not answer",
    "VIR_ERR_ARGUMENT_UNSUPPORTED": "has no channel",
    "VIR_ERR_OPERATION_INVALID": "does not run",
    "VIR_ERR_NO_DOMAIN": "does not run",
}


def silence(domain: Any) -> str:
    """Why the agent of a running domain does not answer; empty when it does. Takes as long as libvirt is patient."""
    try:
        domain.getTime()
    except libvirt.libvirtError as refused:
        codes = {getattr(libvirt, name): words for name, words in SILENT.items() if hasattr(libvirt, name)}
        return codes.get(refused.get_error_code(), "")
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What an agent said: its `silence` as above, and the addresses of its guest."""

    silence: str = ""
    addresses: tuple[str, ...] = ()


def heard(connection: Any, names: Iterable[str], patience: float = PATIENCE) -> Mapping[str, Heard]:
    """What the agent of each of these domains says, all asked side by side."""
    found: dict[str, Heard] = {}

    def ask(name: str) -> None:
        try:
            domain = connection.lookupByName(name)
            found[name] = Heard(silence=silence(domain))
            if not found[name].silence:
                found[name] = Heard(addresses=tuple(addresses(domain, "AGENT")))
        except libvirt.libvirtError:
            found.setdefault(name, Heard(silence="does not run"))  # or it answers, and does not know its addresses

    # Daemons: one that is still waiting does not keep the process.
    threads = {name: threading.Thread(target=ask, args=(name,), daemon=True) for name in names}
    deadline = time.monotonic() + patience
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    late = Heard(silence=f"does not answer within {patience:g} s")
    return {name: found.get(name, late) for name in threads}


def addresses(domain: Any, source: str) -> Iterator[str]:
    """The addresses of a running guest as `source` (LEASE, AGENT, ARP) has them; those that reach no further than the wire are none.

    Raises what libvirt raises where that source cannot be asked.
    """
    told = domain.interfaceAddresses(getattr(libvirt, f"VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_{source}"))
    for card in told.values():
        for held in card["addrs"] or ():
            try:
                address = ipaddress.ip_address(held["addr"])
            except ValueError:
                continue  # an agent answers what the guest wants
            if not (address.is_loopback or address.is_link_local):
                yield str(address)
