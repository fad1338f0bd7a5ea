#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Send packets in machines' names, and see who answers
version_added: "0.1.0"
description:
  - Sends packets as a running machine would, and tells whether they were answered. Nothing is asked of the guest, and it needs no agent.
  - A second card is lent to the machine for that time, on the same bridge and under the same filter. It has the machine's
    addresses, but the bridge learns nothing of it. So answers go to the machine, and are read on their way.
  - A machine that gets an answer to a connection that it did not begin resets the connection.
  - Only cards on bridges of the kernel can be lent one; for a card on Open vSwitch or macvtap the answer is that it cannot be told.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.info
  - dos.vm.probing
seealso:
  - module: dos.vm.assertions
"""

EXAMPLES = r"""
- name: Does web-1 reach the database?
  dos.vm.probe:
    probes:
      - vm: web-1
        mac: "52:54:00:00:00:01"
        source: 10.0.0.11
        target: 10.0.0.21
        protocol: tcp
        port: 5432
"""

RETURN = r"""
seen:
  description: An answer for each of O(probes), in their order.
  returned: success
  type: list
  elements: dict
  contains:
    reached:
      description: Whether the target was reached; null where that cannot be told.
      type: bool
      returned: always
    why:
      description: What was seen.
      type: str
      returned: always
"""

from contextlib import closing
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.hypervisor.libvirt import LibvirtHypervisor
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.probes import probe
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.model.probe import Probing
from ansible_collections.dos.vm.plugins.module_utils.module import Module, given, report


def wanted(params: dict[str, Any]) -> Probing:
    said = {name: value for name, value in params.items() if not name.startswith("_ansible")}
    return decode(Probing, given(said))


def work(module: Module) -> dict[str, Any]:
    asked = wanted(module.params)
    with closing(LibvirtHypervisor(asked.uri)) as hypervisor:
        found = probe(asked, hypervisor)
    return {"changed": False, "seen": [{"reached": seen.yes, "why": seen.why} for seen in found]}


def main() -> None:
    module = Module(argument_spec(Probing), wanted)
    report(module, lambda: work(module))


if __name__ == "__main__":
    main()
