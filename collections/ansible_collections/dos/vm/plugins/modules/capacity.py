#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: capacity
short_description: Count how many more machines fit
version_added: "0.1.0"
description:
  - Counts how many more machines like those of an instance, or of a size, find a host, and says what there is too little of for
    one more. For an instance all its rules hold, and the quota of its project.
  - Nothing is contacted, and nothing changes.
  - The answers of M(dos.vm.host_info) are expected to be registered as C(dos_run_facts) on each host, or in the file that the
    variable C(dos_facts_file) names.
author:
  - dos.vm contributors (@dos-vm)
options:
  like:
    description: Name of an instance.
    type: str
  size:
    description: Instead of O(like), C(memory) and C(vcpus) of machines that ask for nothing else.
    type: dict
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
"""

EXAMPLES = r"""
- name: How many more web servers
  dos.vm.capacity:
    like: web
  run_once: true
"""

RETURN = r"""
fits:
  description: How many more fit.
  returned: success
  type: int
quota:
  description: For how many the quota of the project leaves room; nothing when there is none.
  returned: success
  type: int
hosts:
  description: How many on each host.
  returned: success
  type: dict
limits:
  description: On how many hosts each filter is the first to refuse one more.
  returned: success
  type: dict
"""
