#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vm
short_description: Give machines an order
version_added: "0.1.0"
description:
  - Starts, stops, reboots, resets, suspends, resumes, saves and restores machines of the site that are defined on the host, attaches
    and detaches devices, and takes pictures of their screens. The module waits until that is done, within a time.
  - An order that a machine has followed already changes nothing. One that is not possible in the state a machine is in is refused
    with that state; the other machines are not held up by it, and the task fails with the list.
  - What an order says about power outranks the declaration, until it is released, ends, or the declaration changes. It is
    noted on the machine itself, and M(dos.vm.site) tells of it.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.ordering
seealso:
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: Off, and left off by the next run of the site
  dos.vm.vm:
    names: [web-1]
    order: stop
    timeout: 60

- name: A reboot, whether the guest wants it or not
  dos.vm.vm:
    names: [web-1, web-2]
    order: reboot
    timeout: 30
    reset_after: true

- name: What is on the screen
  dos.vm.vm:
    names: [web-1]
    order: screenshot
    file: /tmp/web-1.png
"""

RETURN = r"""
machines:
  description: What became of the order, machine by machine.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The machine.
      type: str
      returned: always
    before:
      description: State before, as virsh names it, or V(saved).
      type: str
      returned: always
    after:
      description: State after.
      type: str
      returned: always
    changed:
      description: Whether something was done.
      type: bool
      returned: always
    done:
      description: What was done, such as V(has been stopped).
      type: str
      returned: always
    note:
      description: How, or why not, for people.
      type: str
      returned: always
    refused:
      description: Why the order was refused, or what failed.
      type: str
      returned: always
    console:
      description: Where the remote console listens now, such as V(vnc://127.0.0.1:5900).
      type: str
      returned: when there is one
    serial:
      description: The device of the serial console on the host.
      type: str
      returned: when it runs
"""

import time
from contextlib import closing
from dataclasses import asdict
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.hypervisor.clocks import refuse_clocks
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.events import HearingHypervisor
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.power import carry_out
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.model.order import Ordering
from ansible_collections.dos.vm.plugins.module_utils.module import Module, given, report


def wanted(params: dict[str, Any]) -> Ordering:
    return decode(Ordering, given({name: value for name, value in params.items() if not name.startswith("_ansible")}))


def work(module: Module) -> dict[str, Any]:
    asked = wanted(module.params)
    refuse_clocks(asked.until, asked.clock, time.time())
    with closing(HearingHypervisor(asked.uri)) as hypervisor:
        answers = carry_out(asked, hypervisor, dry_run=module.check_mode, now=time.time())
    refused = [{"object": f"domain {answer.name}", "reason": answer.refused} for answer in answers if answer.refused]
    return {
        "changed": any(answer.changed for answer in answers),
        "machines": [asdict(answer) for answer in answers],
        "failures": refused,
    }


def main() -> None:
    module = Module(argument_spec(Ordering), wanted)
    report(module, lambda: work(module))


if __name__ == "__main__":
    main()
