#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: export
short_description: Write what hosts hold as a site in YAML
version_added: "0.1.0"
description:
  - Writes the pools, volumes, filters, networks and virtual machines of hosts in the words of a site, so that the plan of
    what is written is empty.
  - What no field says goes to the C(xml) of its object; what cannot be declared at all is named with the reason and left out.
  - Runs on the controller, on what the C(*_info) modules were registered as; the playbook C(dos.vm.export) has them all.
author:
  - dos.vm contributors (@dos-vm)
options:
  dir:
    description: Folder on the controller that receives one file per host and one for what hosts share.
    type: path
    default: exported
  only:
    description: Which objects, whatever is on the hosts, only what is ours, or only what is not.
    type: str
    choices: [all, ours, unmanaged]
    default: all
  site:
    description: The site that decides what is ours.
    type: str
    default: dos
  project:
    description: The project that machines belong to which belong to none yet.
    type: str
    default: exported
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.host_info
  - module: dos.vm.domain_info
"""

EXAMPLES = r"""
- name: Write what is on the hosts and not ours
  dos.vm.export:
    dir: inventory/group_vars/all
    only: unmanaged
  run_once: true
"""

RETURN = r"""
files:
  description: The files, whether they had to be written or were so already.
  returned: always
  type: list
  elements: str
left_out:
  description: What could not be declared, each with C(host), C(object) and C(reason).
  returned: always
  type: list
  elements: dict
notes:
  description: What to know of objects that were written, each with C(host), C(object) and C(text).
  returned: always
  type: list
  elements: dict
differing:
  description: Objects that were written and whose plan is not empty, each with C(host), C(object) and C(reason).
  returned: always
  type: list
  elements: dict
problems:
  description: What the rules of a site say against what the hosts hold.
  returned: always
  type: list
  elements: str
silent:
  description: Hosts that did not answer.
  returned: always
  type: list
  elements: str
"""
