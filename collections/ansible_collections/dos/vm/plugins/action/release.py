# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.release`: a person signs that hosts run nothing any more, and what was placed on them may be placed anew."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError, StoreError
from ansible_collections.dos.vm.plugins.module_utils.model.types import Name
from ansible_collections.dos.vm.plugins.module_utils.store.evidence import Evidence
from ansible_collections.dos.vm.plugins.module_utils.store.store import Store
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.store import actor, opened, url_of

ROUNDS = 5
display = Display()


class ActionModule(ActionBase):
    """Returns the machines that were let go, by host."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"hosts", "site", "reason"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            {
                "hosts": {"type": "list", "elements": "str", "required": True},
                "site": {"default": "dos"},
                "reason": {"default": ""},
            }
        )
        write = not self._task.check_mode
        try:
            site = Name(arguments["site"])
            url = url_of(self._templar, variables, site, variables["ansible_play_hosts_all"])
            who = actor(self._templar, variables)
            with opened(url, site, write=write) as store:
                if store is None:
                    return {
                        **result,
                        "failed": True,
                        "msg": f"the site {site} has no store: nothing was ever placed there",
                    }
                released = {
                    host: _release(store, host, who, arguments["reason"], write=write) for host in arguments["hosts"]
                }
        except (DosVmError, ValueError) as error:
            return {
                **result,
                **(refused(error) if isinstance(error, DosVmError) else {"failed": True, "msg": str(error)}),
            }
        listed = "; ".join(f"{host}: {', '.join(vms) or 'nothing'}" for host, vms in released.items())
        display.display(f"let go of {listed}", color="yellow")
        return {**result, "changed": any(released.values()), "released": released, "msg": f"let go of {listed}"}


def _release(store: Store, host: str, who: str, reason: str, *, write: bool) -> list[str]:
    for _ in range(ROUNDS):
        held = store.placements.all()
        here = [placement for placement in held.values() if placement.host == host]
        if not write:
            return sorted(placement.vm for placement in here)
        now = time.time()
        store.proofs.write(Evidence(host=host, kind="word", at=now, actor=who, detail={"reason": reason}))
        free = [replace(placement, host=None, epoch=placement.epoch + 1, seen=False) for placement in here]
        if not store.placements.claim(held, free, at=now, actor=who):
            store.hosts.forget(_records(store, host))
            return sorted(placement.vm for placement in here)
    raise StoreError(
        f"let go of {host}", "others change its placements again and again; run this again", retryable=True
    )


def _records(store: Store, host: str) -> Iterable[str]:
    return [record.uuid for record in store.hosts.all() if record.name == host]
