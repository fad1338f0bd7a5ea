#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: checkpoint
short_description: Keep moments of a machine, and go back to them
version_added: "0.1.0"
description:
  - Creates, lists, renames and deletes checkpoints of a running machine of the site, its memory and its disks at one moment, and
    brings the machine back to one. Checkpoints of a machine are a tree; a new one stands below the current one.
  - They lie inside the machine's qcow2 disks, or in files of their own over disks of any format. What cannot have one, such as
    a device of the host, is refused with every reason before anything is done.
  - A checkpoint is no backup; it is lost with the disk it lies in.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.checkpointing
seealso:
  - module: dos.vm.vm
"""

EXAMPLES = r"""
- name: Before the upgrade
  dos.vm.checkpoint:
    vm: web-1
    order: create
    name: before-upgrade
    label: Before the upgrade of November

- name: Before a risk, kept on another disk of the host
  dos.vm.checkpoint:
    vm: web-1
    order: create
    name: before-risk
    stored: external
    directory: /srv/kept

- name: It was no good
  dos.vm.checkpoint:
    vm: web-1
    order: rollback
    name: before-upgrade
    confirm: true
"""

RETURN = r"""
tree:
  description: Every checkpoint of the machine, parents before children.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    label:
      description: Its label.
      type: str
      returned: always
    parent:
      description: The checkpoint it stands below.
      type: str
      returned: when there is one
    current:
      description: Whether a new one would stand below it.
      type: bool
      returned: always
    at:
      description: When it was created, in seconds since 1970.
      type: int
      returned: always
    disks:
      description: Targets of the disks that are in it.
      type: list
      elements: str
      returned: always
    stored:
      description: V(internal) or V(external).
      type: str
      returned: always
    memory:
      description: Whether the machine goes back to it without a boot.
      type: bool
      returned: always
performed:
  description: Sentences that say what was done.
  returned: always
  type: list
  elements: str
notes:
  description: Why nothing was done, or what was lost.
  returned: always
  type: list
  elements: str
"""

from contextlib import closing
from dataclasses import asdict
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.hypervisor.checkpoints import carry_out
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.libvirt import LibvirtHypervisor
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.checkpoint import Checkpointing
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.module import Module, given, report


def wanted(params: dict[str, Any]) -> Checkpointing:
    return decode(
        Checkpointing, given({name: value for name, value in params.items() if not name.startswith("_ansible")})
    )


def work(module: Module) -> dict[str, Any]:
    asked = wanted(module.params)
    with closing(LibvirtHypervisor(asked.uri)) as hypervisor:
        told = carry_out(asked, hypervisor, dry_run=module.check_mode)
    return {"changed": bool(told.performed), **asdict(told)}


def main() -> None:
    module = Module(argument_spec(Checkpointing), wanted)
    report(module, lambda: work(module))


if __name__ == "__main__":
    main()
