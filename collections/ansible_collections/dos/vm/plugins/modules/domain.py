#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: domain
short_description: Declare a virtual machine
version_added: "0.1.0"
description:
  - Makes a virtual machine (a libvirt domain) as it is declared, or removes it. Its disks always stay.
  - The definition always follows the declaration. A running guest gets what can change under it; the rest is
    reported as pending until its next start, which O(allow.restart) permits at once.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.domain
  - dos.vm.existence
  - dos.vm.connection
seealso:
  - module: dos.vm.domain_info
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: A machine from a disk, on a network
  dos.vm.domain:
    name: web-1
    vcpus: 2
    memory: 2 GiB
    disks:
      - {pool: default, volume: web-1.qcow2, format: qcow2}
    interfaces:
      - {network: lab, mac: "52:54:00:00:00:01"}
    graphics:
      - {type: vnc, password: web-1-console}
    secrets:
      web-1-console: "{{ vault_console }}"

- name: Power it off, and keep it
  dos.vm.domain:
    name: web-1
    memory: 2 GiB
    active: false

- name: No such machine; one that runs is asked to power off first
  dos.vm.domain:
    name: web-1
    state: absent
"""

RETURN = r"""
domain:
  description: The virtual machine as it is after the run, or before it in check mode; null when there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    uuid:
      description: Its UUID, where it has one.
      type: str
      returned: always
    active:
      description: Whether it runs.
      type: bool
      returned: always
    autostart:
      description: Whether libvirt starts it by itself.
      type: bool
      returned: always
    ours:
      description: Whether it belongs to O(site).
      type: bool
      returned: always
    info:
      description: What else is known of it.
      type: dict
      returned: always
plans:
  description: What was to be done to the object; empty when it is as declared.
  returned: always
  type: list
  elements: dict
  contains:
    verdict:
      description: One of V(create), V(change), V(remove), V(keep).
      type: str
      returned: always
    disruption:
      description: The largest disturbance of what is done, from V(none) over V(live) and V(restart) to V(data_loss).
      type: str
      returned: always
    changes:
      description: Each difference by its path in the declaration, with C(op), C(before), C(after) and C(disruption).
      type: list
      elements: dict
      returned: always
    pending:
      description: Differences that wait for the next start of a running machine or network.
      type: list
      elements: dict
      returned: always
    actions:
      description: Sentences that say what will be done.
      type: list
      elements: str
      returned: always
    withheld:
      description: Sentences that say what would be done if C(needs) were allowed.
      type: list
      elements: str
      returned: always
    needs:
      description: What is missing from O(allow).
      type: str
      returned: always
    blocked_by:
      description: Missing objects that the object waits for, such as V(volume local/web-1-vda).
      type: list
      elements: str
      returned: always
    notes:
      description: >-
        Sentences about the object as it is, though nothing is done about it, such as a change that was made outside
        dos.vm.
      type: list
      elements: str
      returned: always
performed:
  description: Sentences that say what was done.
  returned: always
  type: list
  elements: str
  sample: [domain web-1 has been defined, domain web-1 has been started]
"""

from ansible_collections.dos.vm.plugins.module_utils.model.domain import Domain
from ansible_collections.dos.vm.plugins.module_utils.module import run


def main() -> None:
    run(Domain)


if __name__ == "__main__":
    main()
