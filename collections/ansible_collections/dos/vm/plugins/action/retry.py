# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.retry`: which machines that a host could not bring up another one may try, and what is to be taken away before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.machine import machines
from ansible_collections.dos.vm.plugins.module_utils.compile.retry import Outlook, Setback, failures_of, outlook
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader

display = Display()


class ActionModule(ActionBase):
    """Returns what is tried `again`, what is to be `undone` before by host, and what has come of the attempts so far."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"results", "decisions", "attempt", "before"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        wish, before = self._task.args, self._task.args.get("before") or {}
        answers: dict[str, Mapping[str, Any]] = {host: held for host, held in wish["results"].items() if held}
        failures = failures_of(answers, before.get("failures") or {})
        try:
            site = SiteReader(self._templar, task_vars or {}).load(check=False)
            found = outlook(
                site,
                machines(site),
                answers,
                tried=before.get("tried") or {},
                failures=failures,
                placed={vm: made["host"] for vm, made in wish["decisions"].items()},
                attempt=int(wish["attempt"]),
            )
        except DosVmError as error:
            return {**result, **refused(error)}
        _tell(found)
        return {
            **result,
            "changed": False,
            "attempt": int(wish["attempt"]),
            "again": [one.vm for one in found.again],
            "undone": _undone(found.again),
            "tried": {vm: dict(reasons) for vm, reasons in found.tried.items()},
            "lost": list(found.lost),
            "settled": sorted(found.settled),
            "failures": failures,
        }


def _undone(again: Iterable[Setback]) -> dict[str, dict[str, list[Any]]]:
    """By host, the domains and the volumes, each by `pool` and `name`, that another host is to make instead."""
    found: dict[str, dict[str, list[Any]]] = {}
    for one in again:
        held = found.setdefault(one.host, {"domains": [], "volumes": []})
        held["domains"] += [one.vm] if one.defined else []
        held["volumes"] += [dict(zip(("pool", "name"), disk.split("/", 1), strict=True)) for disk in one.volumes]
    return found


def _tell(found: Outlook) -> None:
    for one in found.again:
        display.display(
            f"{one.vm} could not be started on {one.host}, another host is tried: {one.reason}", color="yellow"
        )
    for vm in found.lost:
        display.display(f"{vm} could not be started on any host that tried:", color="red")
        for host, why in found.tried[vm].items():
            display.display(f"  {host}: {why}", color="red")
