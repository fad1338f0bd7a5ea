#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Back up the disks of a running VM, and restore them
version_added: "0.1.0"
description:
  - Writes the disks of a running VM to a directory of the host, the first time in full and then what changed since, without
    the guest noticing. The files are a chain of qcow2 images that any tool reads.
  - Checks a chain, and writes the disks of any backup of it anew, to another directory or in place of the disks of the VM.
    Backups are never written over, and the disks of a VM only by name (O(allow.data_loss)).
  - A VM that has lost its record of changes, such as one whose host lost power, is backed up in full again, with a note.
  - The VM belongs to the site of the inventory, C(dos_site), where O(site) is unset.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.backing_up
seealso:
  - module: dos.vm.checkpoint
"""

EXAMPLES = r"""
- name: Every night
  dos.vm.backup:
    vm: web-1
    directory: /srv/backup/web-1

- name: Is it what was written?
  dos.vm.backup:
    vm: web-1
    directory: /srv/backup/web-1
    order: check
  register: chain
  failed_when: chain.broken | length > 0

- name: The disks as they were
  dos.vm.backup:
    vm: web-1
    directory: /srv/backup/web-1
    order: restore
    name: "0003"
    to: /srv/restored

- name: The same in place of the disks of the VM, which is off
  dos.vm.backup:
    vm: web-1
    directory: /srv/backup/web-1
    order: restore
    name: "0003"
    allow: {data_loss: [volume fast/web-1-vda]}
"""

RETURN = r"""
backups:
  description: Every backup in the directory, oldest first, with C(name), C(mark), C(parent), C(at), C(disks) and C(sums).
  returned: always
  type: list
  elements: dict
performed:
  description: Sentences that say what was done.
  returned: always
  type: list
  elements: str
notes:
  description: Why a backup is in full that was not asked to be, with what to do.
  returned: always
  type: list
  elements: str
broken:
  description: What is wrong with the files, for V(check).
  returned: always
  type: list
  elements: str
files:
  description: The restored disks by target, for V(restore).
  returned: always
  type: dict
"""

import time
from contextlib import closing
from dataclasses import asdict
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.hypervisor.backups import carry_out
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.libvirt import LibvirtHypervisor
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.backup import BackingUp
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.module import Module, given, report


def wanted(params: dict[str, Any]) -> BackingUp:
    return decode(BackingUp, given({name: value for name, value in params.items() if not name.startswith("_ansible")}))


def work(module: Module) -> dict[str, Any]:
    asked = wanted(module.params)
    with closing(LibvirtHypervisor(asked.uri)) as hypervisor:
        told = carry_out(asked, hypervisor, dry_run=module.check_mode, now=time.time())
    return {"changed": bool(told.performed), **asdict(told)}


def main() -> None:
    module = Module(argument_spec(BackingUp), wanted)
    report(module, lambda: work(module))


if __name__ == "__main__":
    main()
