# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.place`: decides which machine runs where, and makes of the site one slice per host. Nothing is contacted."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.module_utils.compile.images import images_by_host
from ansible_collections.dos.vm.plugins.module_utils.compile.site import compile_situation
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.decode import encode
from ansible_collections.dos.vm.plugins.plugin_utils.placing import read_situation
from ansible_collections.dos.vm.plugins.plugin_utils.site import refused

display = Display()


class ActionModule(ActionBase):
    """Returns `slices` and `images` by host, `decisions` by machine, and `secrets`: the names each host needs the values of."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            situation = read_situation(self._templar, task_vars or {})
            compiled = compile_situation(situation)
        except DosVmError as error:
            return {**result, **refused(error)}
        for made in compiled.decisions.values():
            if made.host is None or made.refusals:
                display.display(f"{made.vm} {made.reason}", color="red")
        for vm, on in compiled.ordered.items():
            display.display(f"{vm} is {'on' if on else 'off'} by order, and declared otherwise", color="yellow")
        for sentence in compiled.untold:
            display.warning(sentence)
        return {
            **result,
            "changed": False,
            "ordered": {vm: "on" if on else "off" for vm, on in compiled.ordered.items()},
            "images": {
                host: [encode(file) for file in files] for host, files in images_by_host(situation.site).items()
            },
            "slices": {host: encode(held) for host, held in compiled.slices.items()},
            "decisions": {
                vm: {"host": made.host, "target": made.target, "reason": made.reason}
                for vm, made in compiled.decisions.items()
            },
        }
