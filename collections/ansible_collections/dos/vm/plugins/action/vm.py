# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.vm`: shows what became of the order, a line for each machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.plugin_utils.answers import HostAction
from ansible_collections.dos.vm.plugins.plugin_utils.of_site import with_site
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

display = Display()
BEGINNING = ("start", "restore", "resume")  # what brings a VM up
LASTING = ("start", "stop", "save", "restore")  # what says whether it is on from now on
Settle = Callable[[Iterable[Mapping[str, Any]]], None]


class ActionModule(HostAction):
    """Runs the module and tells."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        try:
            self._judge(variables)
        except DosVmError as error:
            return {**result, **refused(error, read=True)}
        try:
            with self._noted(variables) as (arguments, settle):
                told = self.ask("dos.vm.vm", arguments, variables)
                settle(told.get("machines", ()))
        except DosVmError as error:
            return {**result, **refused(error, read=True)}
        result.update(told)
        for told in result.get("machines", ()):
            colour = "red" if told["refused"] else "yellow" if told["changed"] else None
            display.display(f"  {variables.get('inventory_hostname')}: {_line(told)}", color=colour)
        return result

    @contextmanager
    def _noted(self, variables: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Settle]]:
        """The arguments of the module, after the store knows what is asked for; and what settles that by the answers.

        It is noted first and done second, so a person's stop outlives the host and this controller.
        """
        arguments = {**with_site(self._task.args, variables, self._templar), "clock": time.time()}
        if not _lasts(arguments) or self._task.check_mode or "dos_run_orders" not in variables:
            yield arguments, lambda answers: None
            return
        from ansible_collections.dos.vm.plugins.plugin_utils.overrides import noted

        with noted(self._templar, variables, arguments) as (numbers, settle):
            yield {**arguments, **({"numbers": numbers} if numbers else {})}, settle

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


def _lasts(arguments: Mapping[str, Any]) -> bool:
    """Whether an operation gives a power override, or takes one back."""
    order = str(arguments.get("order"))
    return order == "release" or (order in LASTING and boolean(arguments.get("keep", True), strict=False))


def _declares(variables: dict[str, Any]) -> bool:
    """Whether there are VMs of a site among the variables."""
    return any(name == "dos_instances" or name.startswith("dos_instances__") for name in variables)


def _line(told: dict[str, Any]) -> str:
    words = [told["name"], told["done"] or ("" if told["refused"] else f"is {told['after']}")]
    note = told["refused"] or told["note"]
    where = told["console"] if told["after"] == "running" else None
    return " ".join(filter(None, words)) + (f": {note}" if note else "") + (f" ({where})" if where else "")
