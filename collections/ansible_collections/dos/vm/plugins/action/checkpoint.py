# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.checkpoint`: the site of the inventory is that of the module."""

from __future__ import annotations

from ansible_collections.dos.vm.plugins.plugin_utils.of_site import SiteAction


class ActionModule(SiteAction):
    """Nothing but the site."""
