# Copyright: (c) 2026, dos.vm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: asked
short_description: The hosts of the site that a run asks
version_added: "0.1.0"
description:
  - Names the hosts of group C(dos_hosts) that a limit leaves. The playbooks of this collection take their hosts from it.
  - It fails where no host is left, so that a mistyped limit or inventory is no success.
author:
  - dos.vm contributors (@dos-vm)
options:
  _input:
    description: The groups of the inventory with their hosts, C(groups).
    type: dict
    required: true
  limit:
    description: Pattern of hosts, C(dos_limit); all hosts when not given.
    type: str
    default: ""
  subset:
    description: Pattern of hosts that the command line has, C(ansible_limit); all hosts when not given.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Look at the hosts of the site
  hosts: "{{ groups | dos.vm.asked(dos_limit | default(''), ansible_limit | default('')) }}"
  tasks:
    - name: Read the hosts
      dos.vm.host_info:
"""

RETURN = r"""
_value:
  description: The names of the hosts.
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable, Mapping

from ansible.errors import AnsibleFilterError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.dos.vm.plugins.plugin_utils.site import GROUP

EVERYTHING = ("all", "ungrouped")


def asked(
    groups: Mapping[str, Iterable[str]], limit: str | Iterable[str] = "", subset: str | Iterable[str] = ""
) -> list[str]:
    """The hosts of the site that are left by `limit` and by `subset`."""
    hosts = [str(host) for host in groups.get(GROUP, ())]
    if not hosts:
        raise AnsibleFilterError(
            f"the inventory has no host in group {GROUP}: name another inventory with -i, or add one"
        )
    given = {"dos_limit": _pattern(limit), "--limit": _pattern(subset)}
    patterns = {name: pattern for name, pattern in given.items() if pattern}
    left = hosts
    manager = _inventory(groups) if patterns else None
    for pattern in patterns.values() if manager is not None else ():
        manager.subset(pattern)
        chosen = {host.name for host in manager.get_hosts()}
        left = [host for host in left if host in chosen]
    if not left:
        told = " and ".join(f"{name} {pattern}" for name, pattern in patterns.items())
        raise AnsibleFilterError(f"{told}: no host of the site is left: use the name of one, {', '.join(hosts)}")
    return left


def _pattern(given: str | Iterable[str]) -> str:
    return given if isinstance(given, str) else ",".join(map(str, given))


def _inventory(groups: Mapping[str, Iterable[str]]) -> InventoryManager:
    """One that knows names only, to read patterns as Ansible does."""
    made = InventoryManager(loader=DataLoader(), sources=None, parse=False)
    for group, hosts in groups.items():
        if group not in EVERYTHING:
            made.add_group(group)
        for host in hosts:
            made.add_host(host, group=None if group in EVERYTHING else group)
    made.reconcile_inventory()
    return made


class FilterModule:
    """The filter `dos.vm.asked`."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"asked": asked}
