# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.whatif`: what would be, if hosts were lost or bought and the declaration were another. Nothing is contacted or changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.placing import Situation, situation
from ansible_collections.dos.vm.plugins.module_utils.compile.promises import reckoned, summary
from ansible_collections.dos.vm.plugins.module_utils.compile.whatif import Difference, Supposed, difference, suppose
from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError, DosVmError
from ansible_collections.dos.vm.plugins.module_utils.site.load import load
from ansible_collections.dos.vm.plugins.plugin_utils.placing import declared_policy, read_states
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader
from ansible_collections.dos.vm.plugins.plugin_utils.variables import where

display = Display()
MOST_SHOWN = 20  # machines
QUESTIONS = ("remove_hosts", "add_hosts", "set")


class ActionModule(ActionBase):
    """Returns who would be elsewhere, `moved`, and who would be `homeless`."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"what"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            before, after = self._both(task_vars or {}, _question(self._task.args.get("what")))
        except DosVmError as error:
            return {**result, **refused(error)}
        found = difference(before, after)
        _show(found)
        for title, held in (("now: ", before), ("then:", after)):
            for text, good in summary(reckoned(held)):
                display.display(f"{title} {text}", color=None if good else "yellow")
        return {
            **result,
            "changed": False,
            "moved": {vm: {"from": was, "to": would} for vm, (was, would) in found.moved.items()},
            "homeless": {vm: dict(why) for vm, why in found.homeless.items()},
        }

    def _both(self, variables: Mapping[str, Any], what: Mapping[str, Any]) -> tuple[Situation, Situation]:
        reader = SiteReader(self._templar, variables)
        hosts = reader.hosts()
        groups = {name: tuple(held) for name, held in reader.groups().items()}
        now = Supposed(variables=reader.declared(), hosts=hosts, groups=groups, states=read_states(variables, hosts))
        then = suppose(now, remove=what["remove_hosts"], add=what["add_hosts"], change=what["set"])
        at = time.time()
        return _situation(now, variables, at, check=False), _situation(then, variables, at, check=True)


def _question(what: object) -> dict[str, Any]:
    if not isinstance(what, Mapping) or not what or set(what) - set(QUESTIONS):
        text = "is not a question, write remove_hosts: [host], add_hosts: {new: like_host} and set: {path: value}"
        raise DeclarationError.at("dos_whatif", text)
    removed = what.get("remove_hosts") or ()
    return {
        "remove_hosts": [removed] if isinstance(removed, str) else [str(host) for host in removed],
        "add_hosts": {str(host): str(like) for host, like in (what.get("add_hosts") or {}).items()},
        "set": dict(what.get("set") or {}),
    }


def _situation(supposed: Supposed, variables: Mapping[str, Any], at: float, *, check: bool) -> Situation:
    site = load(supposed.variables, hosts=supposed.hosts, groups=supposed.groups, where=where, check=check)
    how = declared_policy(site.placement, variables)
    return situation(site, supposed.states, now=at, how=how, lost=supposed.lost)


def _show(found: Difference) -> None:
    shown = list(found.moved.items())[:MOST_SHOWN]
    for vm, (was, would) in shown:
        display.display(f"  {vm}: {was or 'nowhere'} → {would or 'nowhere'}", color="yellow" if would else "red")
    if len(found.moved) > len(shown):
        display.display(f"  and {len(found.moved) - len(shown)} more")
    for vm, why in list(found.homeless.items())[:MOST_SHOWN]:
        display.display(f"  no host can take {vm}:", color="red")
        for host, reason in why.items():
            display.display(f"    {host}: {reason}")
    text = f"{len(found.moved)} machines would be elsewhere, {len(found.homeless)} would find no host"
    display.display(text, color="bright blue")
