# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.certificate_files`: nothing else of the host's answer than the module documents."""

from __future__ import annotations

from ansible_collections.dos.vm.plugins.plugin_utils.answers import PlainAction as ActionModule

__all__ = ["ActionModule"]
