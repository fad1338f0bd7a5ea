# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.export`: writes what the hosts hold as a site in YAML, and proves that the plan of it is empty."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.export import Exported, Told, export
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.types import Name
from ansible_collections.dos.vm.plugins.plugin_utils.export import LISTS, documents, told, write
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import FACTS

display = Display()


class ActionModule(ActionBase):
    """Returns the files, what was left out and why, and every object whose plan is not empty."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"dir", "only", "site", "project"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            {
                "dir": {"type": "path", "default": "exported"},
                "only": {"choices": ["all", "ours", "unmanaged"], "default": "all"},
                "site": {"default": "dos"},
                "project": {"default": "exported"},
            }
        )
        answered = _told(variables)
        try:
            site, project = Name(arguments["site"]), Name(arguments["project"])
            found = export(site, answered, arguments["only"], project)
        except DosVmError as error:
            return {**result, **refused(error)}
        except ValueError as error:
            return {**result, "failed": True, "msg": str(error)}
        files = list(documents(found, answered))
        changed = write(Path(arguments["dir"]), files, dry_run=bool(self._task.check_mode))
        silent = [host for host in variables["ansible_play_hosts_all"] if host not in answered]
        return {
            **result,
            **_report(found, changed, silent),
            "files": [str(Path(arguments["dir"], name)) for name, _ in files],
        }


def _told(variables: Mapping[str, Any]) -> dict[str, Told]:
    """The hosts that answered every question."""
    found = {}
    for host in variables["ansible_play_hosts_all"]:
        held = variables["hostvars"][host]
        facts = (held.get(FACTS) or {}).get("facts")
        lists = {name: (held.get(f"dos_run_{name}") or {}).get(name) for name in LISTS.values()}
        if facts and None not in lists.values():
            found[host] = told(facts, lists)
    return found


def _report(found: Exported, changed: list[str], silent: list[str]) -> dict[str, Any]:
    number = sum(len(held) for held in found.objects.values())
    message = f"exported {number} objects, the plan of every one is empty"
    if found.differing:
        listed = ", ".join(f"{name} on {host}" for host, name, _ in found.differing)
        message = f"exported {number} objects with {len(found.differing)} whose plan is not empty: {listed}"
    for host, name, text in found.left_out:
        display.display(f"  left out: {name} on {host}: {text}", color="yellow")
    for host, name, text in found.notes:
        display.display(f"  note: {name} on {host}: {text}", color="dark gray")
    for host, name, text in found.differing:
        display.display(f"  not empty: {name} on {host}: {text}", color="red")
    for text in (*found.problems, *(f"no answer from {host}" for host in silent)):
        display.display(f"  {text}", color="red")
    display.display(message, color="bright blue")
    return {
        "changed": bool(changed),
        "msg": message,
        "left_out": [{"host": host, "object": name, "reason": text} for host, name, text in found.left_out],
        "notes": [{"host": host, "object": name, "text": text} for host, name, text in found.notes],
        "differing": [{"host": host, "object": name, "reason": text} for host, name, text in found.differing],
        "problems": list(found.problems),
        "silent": silent,
    }
