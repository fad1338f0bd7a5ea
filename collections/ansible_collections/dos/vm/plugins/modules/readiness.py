#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: readiness
short_description: Wait until machines are ready
version_added: "0.1.0"
description:
  - Asks machines that run on the host until each of them is ready, or its time is over. A machine is ready when it runs, when
    its guest agent answers, when a port takes connections, or when a page is answered with; the host asks.
  - Nothing is changed. One that is not ready is no failure of the task.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.waiting
seealso:
  - module: dos.vm.starts
"""

EXAMPLES = r"""
- name: The database takes connections
  dos.vm.readiness:
    checks:
      - name: db-1
        tcp: 5432
        within: 120
  register: db
  failed_when: db.unready | length > 0
"""

RETURN = r"""
unready:
  description: The machines that were not ready in time.
  returned: success
  type: list
  elements: dict
  contains:
    gate:
      description: As given.
      type: int
      returned: always
    name:
      description: The machine.
      type: str
      returned: always
    reason:
      description: What it did instead.
      type: str
      returned: always
pending:
  description: Those that may become ready yet, when O(seconds) ran out; with the same fields.
  returned: success
  type: list
  elements: dict
running:
  description: Whether there are any.
  returned: success
  type: bool
waited:
  description: Seconds, with those of earlier calls.
  returned: success
  type: float
"""

from contextlib import closing
from dataclasses import asdict
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.hypervisor.libvirt import LibvirtHypervisor
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.readiness import wait
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.model.readiness import Waiting
from ansible_collections.dos.vm.plugins.module_utils.module import Module, given, report


def wanted(params: dict[str, Any]) -> Waiting:
    return decode(Waiting, given({name: value for name, value in params.items() if not name.startswith("_ansible")}))


def work(module: Module) -> dict[str, Any]:
    asked = wanted(module.params)
    with closing(LibvirtHypervisor(asked.uri)) as hypervisor:
        told = wait(asked, hypervisor)
    return {"changed": False, "running": bool(told.pending), **asdict(told)}


def main() -> None:
    module = Module(argument_spec(Waiting), wanted)
    report(module, lambda: work(module))


if __name__ == "__main__":
    main()
