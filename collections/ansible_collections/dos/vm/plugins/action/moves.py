# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.moves`: which machines change their hosts, and what those must hold before they come. Nothing is contacted."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.module_utils.compile.moves import prepared
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.decode import encode
from ansible_collections.dos.vm.plugins.module_utils.plan.kinds import declared_objects
from ansible_collections.dos.vm.plugins.plugin_utils.allow import allowed
from ansible_collections.dos.vm.plugins.plugin_utils.moves import in_service, plain, relocation
from ansible_collections.dos.vm.plugins.plugin_utils.placing import situate, told
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, host_states, refused
from ansible_collections.dos.vm.plugins.plugin_utils.store import opened, remembered, url_of

display = Display()


class ActionModule(ActionBase):
    """Returns the `moves` that are allowed, those that are not as `withheld`, and by host what is `prepared` for them."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"allow", "drain", "back", "vms", "to"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables, wish = task_vars or {}, self._task.args
        try:
            may_move = bool(allowed(wish.get("allow")).get("migrate"))
            site = SiteReader(self._templar, variables).load(check=False)
            emptied = [*(wish.get("drain") or ()), *(move["source"] for move in wish.get("back") or ())]
            states = in_service(host_states(told(variables, site.hosts), site.hosts), emptied)
            with opened(url_of(self._templar, variables, site.name, site.hosts), site.name, write=False) as store:
                kept = remembered(store)
            held = situate(site, variables, held=kept, states=states)
            found = relocation(held, states, wish)
            going = prepared(held, found.moves) if may_move else {}
        except DosVmError as error:
            return {**result, **refused(error)}
        moves = list(plain(found.moves, variables["hostvars"]))
        for move in moves if may_move else ():
            display.display("{domain} goes from {source} to {target}: {why}".format_map(move), color="yellow")
        for vm, reasons in found.stuck.items():
            display.display(f"{vm} cannot go:", color="red")
            for host, why in reasons.items():
                display.display(f"  {host} {why}", color="red")
        return {
            **result,
            "changed": False,
            "moves": moves if may_move else [],
            "withheld": [] if may_move else moves,
            "stuck": {str(vm): {str(host): why for host, why in reasons.items()} for vm, reasons in found.stuck.items()},
            "prepared": {str(host): encode(slice_) for host, slice_ in going.items()},
            "coming": {
                str(host): [str(address) for _, address, _ in declared_objects(slice_)]
                for host, slice_ in going.items()
            },
        }
