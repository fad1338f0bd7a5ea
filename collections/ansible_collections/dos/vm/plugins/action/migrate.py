# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.migrate`: shows how far a migration is, by asking the module again until it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.model.types import ByteSize
from ansible_collections.dos.vm.plugins.plugin_utils.patience import PatientAction


class ActionModule(PatientAction):
    """Runs the module as often as it takes. The migration itself goes on whether anybody asks or not."""

    def arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        arguments = super().arguments(variables)
        ways = arguments.pop("ways", None) or {}
        return {**ways, **arguments}

    def again(self, told: Mapping[str, Any]) -> dict[str, Any]:
        return {"watch": True, "awake": told["awake"], "saved": told["saved"]}

    def progress(self, arguments: Mapping[str, Any], told: Mapping[str, Any]) -> str:
        seen = told["progress"]
        sent, left = (ByteSize(seen[name] // 2**20 * 2**20) for name in ("sent", "left"))
        where = f"{arguments['domain']} from {arguments['source']} to {arguments['target']}"
        return f"{where}: {seen['percent']} %, {sent} sent, {left} to go, after {seen['seconds']:.0f} s"

    def joined(self, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """The last answer, with what each of them noted, once."""
        notes = [*before.get("notes", ()), *now.get("notes", ())]
        return {**now, "notes": list(dict.fromkeys(notes))} if notes else now
