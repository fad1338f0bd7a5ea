# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.vm`: shows what became of the order, a line for each machine."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.plugin_utils.answers import HostAction
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused

display = Display()
BEGINNING = ("start", "restore", "resume")  # what brings a VM up


class ActionModule(HostAction):
    """Runs the module and tells."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        try:
            self._judge(variables)
        except DosVmError as error:
            return {**result, **refused(error)}
        result.update(self.ask("dos.vm.vm", self._task.args, variables))
        for told in result.get("machines", ()):
            colour = "red" if told["refused"] else "yellow" if told["changed"] else None
            display.display(f"  {variables.get('inventory_hostname')}: {_line(told)}", color=colour)
        return result

    def _judge(self, variables: dict[str, Any]) -> None:
        """Raises `DeclarationError` where a rule of the site forbids what the task asks for.

        `dos.vm.power` has asked already, and a play without a site has no rules.
        """
        order, names = str(self._task.args.get("order")), self._task.args.get("names") or ()
        names = frozenset([names] if isinstance(names, str) else map(str, names))
        of_site = self._task.args.get("site") in (None, variables.get("dos_site", "dos")) and _declares(variables)
        if "dos_run_orders" in variables or order not in (*BEGINNING, "attach") or not of_site:
            return
        # What these stand on costs more than a task of another order.
        from ansible_collections.dos.vm.plugins.plugin_utils.admission import refuse_disks, refuse_starts
        from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader

        if order == "attach":
            for name in sorted(names):
                host, device = str(variables["inventory_hostname"]), str(self._task.args.get("device"))
                refuse_disks(self._templar, variables, name, host, device)
            return
        reader = SiteReader(self._templar, variables)
        site = reader.load(check=False)
        declared = frozenset(vm for name, held in site.instances.items() for vm in held.machines(name))
        refuse_starts(self._templar, variables, reader, site, names & declared)


def _declares(variables: dict[str, Any]) -> bool:
    """Whether there are VMs of a site among the variables."""
    return any(name == "dos_instances" or name.startswith("dos_instances__") for name in variables)


def _line(told: dict[str, Any]) -> str:
    words = [told["name"], told["done"] or ("" if told["refused"] else f"is {told['after']}")]
    note = told["refused"] or told["note"]
    where = told["console"] if told["after"] == "running" else None
    return " ".join(filter(None, words)) + (f": {note}" if note else "") + (f" ({where})" if where else "")
