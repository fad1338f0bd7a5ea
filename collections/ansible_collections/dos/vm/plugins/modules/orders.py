#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: orders
short_description: Find the machines that an order is for
version_added: "0.1.0"
description:
  - Finds the machines of the site that are named by themselves, by instance or by project, where each of them is, and what is
    declared of it, for M(dos.vm.vm). Nothing is contacted.
  - The answers of M(dos.vm.host_info) are expected to be registered as C(dos_run_facts) on each host.
author:
  - dos.vm contributors (@dos-vm)
options:
  order:
    description:
      - The order, as M(dos.vm.vm) takes it. What brings a machine up is refused here for a disabled instance or an inactive project.
    type: str
    required: true
  vms:
    description:
      - Machines by name.
    type: list
    elements: str
  instances:
    description:
      - All machines of these instances.
    type: list
    elements: str
  projects:
    description:
      - All machines of these projects.
    type: list
    elements: str
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.vm
"""

EXAMPLES = r"""
- name: Find the machines of web
  dos.vm.orders:
    order: stop
    instances: [web]
  run_once: true
  register: chosen
"""

RETURN = r"""
hosts:
  description: >-
    By host the C(names) of its machines, and what is C(declared) of each. Where one of them is to come up, C(max_vcpus) and
    C(max_memory) are what all VMs of the host may have together.
  returned: success
  type: dict
steps:
  description: >-
    The same machines in the order in which they are to be done, as waves for M(dos.vm.starts): those that come after others
    later, or sooner where they are stopped. One step where none of them comes after another.
  returned: success
  type: list
  elements: dict
"""
