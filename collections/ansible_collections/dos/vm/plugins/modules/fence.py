#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fence
short_description: Note on a host which machines were given to another one
version_added: "0.1.0"
description:
  - A controller that decided where a machine runs before it was given to another host, and that comes to the host only
    afterwards, is refused by M(dos.vm.host) there. So the last decision counts, whoever is faster.
  - The note is written while no other run changes the host, and tells whether one was here before it.
author:
  - dos.vm contributors (@dos-vm)
options:
  epochs:
    description: The epoch of the new placement, by machine. Placements before it make the machine here no more.
    type: dict
    required: true
  uri:
    description: Connection URI of libvirt.
    type: str
    default: qemu:///system
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
  - module: dos.vm.moves
"""

EXAMPLES = r"""
- name: Tell the host what was taken from it
  dos.vm.fence:
    epochs: {web-1: 4}
"""

RETURN = r"""
defined:
  description: Those of the machines that the host has; whoever gave them away did not know that.
  returned: success
  type: list
  elements: str
"""

from contextlib import closing
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.hypervisor.fences import raise_fences
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.libvirt import LibvirtHypervisor
from ansible_collections.dos.vm.plugins.module_utils.module import Module, report


def work(module: Module) -> dict[str, Any]:
    epochs = {str(vm): int(epoch) for vm, epoch in module.params["epochs"].items()}
    with closing(LibvirtHypervisor(module.params["uri"])) as hypervisor, hypervisor.lock():
        changed = raise_fences(epochs, dry_run=module.check_mode)
        return {"changed": changed, "defined": hypervisor.defined(epochs)}


def main() -> None:
    spec = {"epochs": {"type": "dict", "required": True}, "uri": {"type": "str", "default": "qemu:///system"}}
    module = Module(spec, lambda params: None)
    report(module, lambda: work(module))


if __name__ == "__main__":
    main()
