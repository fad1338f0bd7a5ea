#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: hosts
short_description: Show the hosts and how busy they are, or were
version_added: "0.1.0"
description:
  - Shows a table of the hosts with what they have, their limits, whether they answer, and how busy they are, from what
    M(dos.vm.host_info) found on each, registered as C(dos_run_facts). What they told is added to the history in the store.
  - With O(since) or O(until) it shows that history.
author:
  - dos.vm contributors (@dos-vm)
options:
  name:
    description: Only hosts with this in their names.
    type: str
  since:
    description: Show how busy hosts were from this time on, UTC unless it says otherwise.
    type: str
  until:
    description: Show how busy hosts were before this time.
    type: str
  purge_before:
    description: Forget what was before this time. Who did that stays in the store.
    type: str
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.host_info
  - module: dos.vm.status
"""

EXAMPLES = r"""
- name: Show the hosts
  dos.vm.hosts:
  run_once: true

- name: Show how busy one was
  dos.vm.hosts:
    name: node1
    since: "2026-11-21T08:00:00+01:00"
  run_once: true
"""

RETURN = r"""
hosts:
  description: One row for each host.
  returned: success
  type: list
  elements: dict
history:
  description: >-
    One row for each host and sample, percents, and megabytes a second of its network cards. None where the host did not run
    then, or its history was forgotten.
  returned: success
  type: list
  elements: dict
cut:
  description: Whether C(history) is the newest part only, for there are more than 10,000 rows.
  returned: success
  type: bool
purged:
  description: How many rows were forgotten.
  returned: success
  type: int
"""
