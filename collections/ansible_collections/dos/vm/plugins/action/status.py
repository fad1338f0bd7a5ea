# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.status`: a table of machines from what every host told of itself, and what is on the hosts that is not ours."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.model.types import ByteSize
from ansible_collections.dos.vm.plugins.plugin_utils.report import table
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import FACTS

display = Display()
# VM-T1, with what a machine has of its instance (VM-T1.3).
COLUMNS = {
    "name": "MACHINE",
    "project": "PROJECT",
    "host": "HOST",
    "state": "STATE",
    "vcpus": "VCPUS",
    "size": "MEMORY",
    "addresses": "ADDRESS",
    "console": "CONSOLE",
    "agent": "AGENT",
}


class ActionModule(ActionBase):
    """Returns the rows it shows, `machines`, and by host what is `unmanaged`."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"project"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        told = {host: variables["hostvars"][host].get(FACTS) or {} for host in variables["ansible_play_hosts_all"]}
        wanted = self._task.args.get("project")
        rows = (row for host, held in told.items() for row in _rows(host, held))
        machines = sorted((row for row in rows if wanted in (None, row["project"])), key=_running_first)
        for line in table(machines, COLUMNS):
            display.display(line)
        unmanaged = {host: _foreign(held) for host, held in told.items() if _foreign(held)}
        for host, names in unmanaged.items():
            display.display(f"not ours on {host}: {', '.join(names)}", color="dark gray")
        silent = [host for host, held in told.items() if "facts" not in held]
        if silent:
            display.display(f"no answer from: {', '.join(silent)}", color="red")
        return {**result, "changed": False, "machines": machines, "unmanaged": unmanaged, "silent": silent}


def _rows(host: str, told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    addresses, health = _addresses(told), told.get("health") or {}
    for domain in told.get("domains", ()):
        if domain["ours"]:
            guest = health.get(domain["name"]) or {}
            leases = [ip for mac in domain.get("macs") or () for ip in addresses.get(mac, ())]
            found = list(dict.fromkeys((*leases, *(guest.get("addresses") or ()))))
            size = str(ByteSize(int(domain.get("memory") or 0)))
            notes = [guest.get("reason"), "by order" if (domain.get("orders") or {}).get("power") else None]
            state = domain["state"] + "".join(f" ({note})" for note in notes if note)
            shown = {"state": state, "host": host, "size": size, "agent": guest.get("agent") or None}
            yield {**domain, **shown, "addresses": found if domain["active"] else []}


def _running_first(row: Mapping[str, Any]) -> tuple[bool, str]:
    """VM-05: machines that are on come first."""
    return not row["active"], row["name"]


def _addresses(told: Mapping[str, Any]) -> dict[str, list[str]]:
    """The addresses that each MAC holds a lease of now."""
    found: dict[str, list[str]] = {}
    for network in told.get("networks", ()):
        for lease in network.get("leases") or ():
            if lease.get("ip") and (not lease.get("expires") or int(lease["expires"]) > time.time()):
                found.setdefault(lease.get("mac"), []).append(lease["ip"])
    return found


def _foreign(told: Mapping[str, Any]) -> list[str]:
    return [
        address for address in told.get("unmanaged", ()) if address.partition(" ")[0] in ("domain", "network", "pool")
    ]
