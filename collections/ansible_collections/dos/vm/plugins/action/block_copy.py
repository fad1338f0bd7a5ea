# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.block_copy`: shows progress until the work is done."""

from __future__ import annotations

from ansible_collections.dos.vm.plugins.plugin_utils.patience import PatientAction


class ActionModule(PatientAction):
    """Nothing but patience."""
