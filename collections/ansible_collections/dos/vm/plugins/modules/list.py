#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: list
short_description: Show what is declared of a kind
version_added: "0.1.0"
description:
  - Shows a table of the projects, project groups, host groups, users or machines that are declared. Filters combine with AND.
  - It reads the declaration alone; M(dos.vm.hosts) and M(dos.vm.status) show what there is.
author:
  - dos.vm contributors (@dos-vm)
options:
  kind:
    description: What to show.
    type: str
    choices: [filters, host_groups, images, instances, machines, networks, pools, project_groups, projects, routes, secrets, security_groups, subnet_grants, subnets, users, volumes]
    required: true
  name:
    description: Only what has this in its name; of users also in the name of the person, of machines also in that of the instance, of volumes, images, instances, secrets, networks, subnets, filters and security groups also in the label, of subnets also in the address and V(IPv4) or V(IPv6).
    type: str
    default: ""
  project:
    description: Only what belongs to this project.
    type: str
  active:
    description: Only projects that are active, or are not; of instances and their machines whether the instance is enabled, of users that are not frozen.
    type: bool
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.hosts
  - module: dos.vm.status
"""

EXAMPLES = r"""
- name: Show the projects that are switched off
  dos.vm.list:
    kind: projects
    active: false
  run_once: true
"""

RETURN = r"""
rows:
  description: What is shown, a dictionary for each row.
  returned: success
  type: list
  elements: dict
"""
