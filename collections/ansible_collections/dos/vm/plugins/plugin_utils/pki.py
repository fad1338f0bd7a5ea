# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions about certificates have in common: their arguments, the pass phrase, and who the hosts are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.plugin_utils.site import GROUP

HELD = "tls_certificates"  # what `dos.vm.certificates` is registered as
PASSPHRASE = "tls_ca_passphrase"


def arguments_for(model: type[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the task that belong to one declaration, without what was not given."""
    return {name: arguments[name] for name in argument_spec(model) if arguments.get(name) not in (None, "")}


def passphrase(templar: Any, variables: Mapping[str, Any]) -> str:
    """Read here and nowhere else: an argument of a task could be printed."""
    return str(templar.template(variables.get(PASSPHRASE) or ""))


def hosts_of(variables: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts that must trust each other: the group `dos_hosts`, or those of the play where there is no such group."""
    return tuple(variables.get("groups", {}).get(GROUP) or variables.get("ansible_play_hosts_all", ()))
