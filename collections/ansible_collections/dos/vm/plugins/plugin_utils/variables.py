# SPDX-License-Identifier: GPL-3.0-or-later
"""From Ansible's variables to the library's data: which ones are ours, what they come to, and where they were written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError, Origin, printable

try:
    from ansible._internal._datatag._tags import Origin as OriginTag
except ImportError:  # another ansible-core keeps it elsewhere; messages then name the variable's path alone
    OriginTag = None

PREFIX = "dos_"
# What begins so is declared in the inventory, for the site or for one of our roles.
DECLARED = (PREFIX, "tls_", "hypervisor_")


def where(value: object) -> Origin | None:
    """The file and line a value was written at, which ansible-core ≥ 2.19 keeps with every value but flags and nothing."""
    if OriginTag is None:
        return None
    tag = OriginTag.get_tag(value)
    if tag is None or not tag.path:
        return None
    return Origin(str(tag.path), tag.line_num, tag.col_num)


def declared_variables(task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Our own variables, raw: templates are still templates."""
    return {name: value for name, value in task_vars.items() if name.startswith(PREFIX) and not _ours(name)}


def refuse_facts(host: str, variables: Mapping[str, Any]) -> None:
    """Raise `DeclarationError` where facts of a host are named like what only the inventory declares.

    Ansible may be set to make variables of facts, and those outrank the inventory.
    """
    named = sorted(name for name in variables.get("ansible_facts") or () if str(name).startswith(DECLARED))
    if named:
        raise DeclarationError.at(
            "",
            f"{host} answered facts named {printable(', '.join(named))}, and only the inventory may declare these: "
            "set inject_facts_as_vars = false in ansible.cfg, clear the fact cache, and look at what the host runs",
        )


def _ours(name: str) -> bool:
    """Variables that the playbooks register and set themselves."""
    return name.startswith("dos_run_")
