#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: retry
short_description: Decide which machines another host may try
version_added: "0.1.0"
description:
  - Finds the new machines that a host could not bring up, as M(dos.vm.host) told, and that another host may try in the same run,
    as often as C(dos_placement.attempts) says. Nothing is contacted.
author:
  - dos.vm contributors (@dos-vm)
options:
  results:
    description: What M(dos.vm.host) returned in this attempt, by host.
    type: dict
    required: true
  decisions:
    description: What M(dos.vm.place) decided for this attempt, by machine.
    type: dict
    required: true
  attempt:
    description: Which attempt this was, the first being 1.
    type: int
    required: true
  before:
    description: What this module returned after the attempt before.
    type: dict
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: Decide which machines another host may try
  dos.vm.retry:
    results: "{{ answers }}"
    decisions: "{{ placed.decisions }}"
    attempt: 1
  run_once: true
  register: retry
"""

RETURN = r"""
attempt:
  description: As given.
  returned: success
  type: int
again:
  description: The machines that are tried on another host.
  returned: success
  type: list
  elements: str
undone:
  description: By host, what is to be taken away before, C(domains) by name and C(volumes) by C(pool) and C(name).
  returned: success
  type: dict
tried:
  description: By machine, the hosts that failed and why; for O(dos.vm.place#module:failed).
  returned: success
  type: dict
lost:
  description: The machines that are tried no more.
  returned: success
  type: list
  elements: str
settled:
  description: The hosts of which nothing failed but machines that another host has by now.
  returned: success
  type: list
  elements: str
failures:
  description: What failed in all attempts, by host and object.
  returned: success
  type: dict
"""
