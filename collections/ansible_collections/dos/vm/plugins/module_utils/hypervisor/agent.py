# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the agent in a guest answers. Asked for the time, which every agent knows: a command of our own would taint the domain.

libvirt itself waits five seconds for an agent that is connected and says nothing, so it is asked in a thread that may be
left behind; an agent that is not connected is refused at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
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


def silences(connection: Any, names: Iterable[str], patience: float = PATIENCE) -> Mapping[str, str]:
    """The silence of each of these domains, all asked side by side."""
    found: dict[str, str] = {}

    def ask(name: str) -> None:
        try:
            found[name] = silence(connection.lookupByName(name))
        except libvirt.libvirtError:
            found[name] = "does not run"

    # Daemons: one that is still waiting does not keep the process.
    threads = {name: threading.Thread(target=ask, args=(name,), daemon=True) for name in names}
    deadline = time.monotonic() + patience
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    return {name: found.get(name, f"does not answer within {patience:g} s") for name in threads}
