#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: whatif
short_description: Say what would be if hosts or the declaration were others
version_added: "0.1.0"
description:
  - Checks, places and reckons with losses on a copy of the site that has other hosts or other values, and compares that with the
    site as it is. Nothing is contacted, and nothing changes.
  - The answers of M(dos.vm.host_info) are expected to be registered as C(dos_run_facts) on each host, or in the file that the
    variable C(dos_facts_file) names.
author:
  - dos.vm contributors (@dos-vm)
options:
  what:
    description: What is supposed.
    type: dict
    required: true
    suboptions:
      remove_hosts:
        description: Hosts that are gone, with everything on them.
        type: list
        elements: str
      add_hosts:
        description: New hosts, each with the name of one that it is like.
        type: dict
      set:
        description: Values by their path in the declaration, for example C(dos_instances.web.count).
        type: dict
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
"""

EXAMPLES = r"""
- name: What if node2 were lost, and there were forty web servers
  dos.vm.whatif:
    what:
      remove_hosts: [node2]
      set: {dos_instances.web.count: 40}
  run_once: true
"""

RETURN = r"""
moved:
  description: Machines that would be elsewhere, with C(from) and C(to).
  returned: success
  type: dict
homeless:
  description: Machines that would find no host, with the reason of each host.
  returned: success
  type: dict
"""
