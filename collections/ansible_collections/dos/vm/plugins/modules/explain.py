#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: explain
short_description: Say why a machine is on its host
version_added: "0.1.0"
description:
  - Shows for one machine of the site what every filter answers of every host, with the numbers it went by, and what every host
    weighs. Nothing is contacted, and nothing changes.
  - The answers of M(dos.vm.host_info) are expected to be registered as C(dos_run_facts) on each host, or in the file that the
    variable C(dos_facts_file) names.
author:
  - dos.vm contributors (@dos-vm)
options:
  vm:
    description: Name of the machine.
    type: str
    required: true
  all:
    description: Show every answer of every host, also when there are many hosts. They are always returned.
    type: bool
    default: false
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
"""

EXAMPLES = r"""
- name: Why is web-1 where it is
  dos.vm.explain:
    vm: web-1
  run_once: true
"""

RETURN = r"""
host:
  description: Where it is, or is to be; nothing when no host can take it.
  returned: success
  type: str
target:
  description: Where it should go, when a rule sends it away from where it is.
  returned: success
  type: str
reason:
  description: The decision in words.
  returned: success
  type: str
remaining:
  description: How many hosts were left after each filter.
  returned: success
  type: list
  elements: dict
hosts:
  description: Every host, the best first, with what its C(filters) answered and what it C(weights).
  returned: success
  type: list
  elements: dict
"""
