# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.image_edit`: hands the module the passwords it sets, and shows progress until it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.plugin_utils.patience import PatientAction
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader


class ActionModule(PatientAction):
    """The values go from the inventory to the host in this one call."""

    def arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        arguments = super().arguments(variables)
        names = [str(name) for name in (arguments.get("passwords") or {}).values()]
        if names and "secrets" not in arguments:
            arguments["secrets"] = SiteReader(self._templar, variables).secret_values(names)
        return arguments
