#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Show which machines run where
version_added: "0.1.0"
description:
  - Shows a table of the site's machines from what M(dos.vm.host_info) found on each host, those that are on first, and names what
    is on the hosts that is not the site's.
  - The answers of M(dos.vm.host_info) are expected to be registered as C(dos_run_facts) on each host.
author:
  - dos.vm contributors (@dos-vm)
options:
  project:
    description:
    - Only the machines of this project; those of all when not given.
    - Requirement PROJ-09.
    type: str
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.host_info
"""

EXAMPLES = r"""
- name: Show what runs where
  dos.vm.status:
  run_once: true

- name: Show what of one project runs where
  dos.vm.status:
    project: shop
  run_once: true
"""

RETURN = r"""
machines:
  description: One row for each machine of the site.
  returned: always
  type: list
  elements: dict
unmanaged:
  description: What is not the site's, by host.
  returned: always
  type: dict
silent:
  description: Hosts that did not answer.
  returned: always
  type: list
  elements: str
"""
