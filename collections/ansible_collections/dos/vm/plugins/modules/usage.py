#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: usage
short_description: Show what projects use of their quotas
version_added: "0.1.0"
description:
  - Shows for each project what it uses of each quota, summed up from what is declared, and how long its machines ran, summed up
    from what the store was told of them. As a table, and as a page with bars that needs nothing else.
  - Where M(dos.vm.host_info) was registered as C(dos_run_facts), what runs now is added to the store first.
author:
  - dos.vm contributors (@dos-vm)
options:
  file:
    description: File on the controller that receives the page; none when not given.
    type: path
  project:
    description: Only this project; all when not given.
    type: str
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.site
"""

EXAMPLES = r"""
- name: Show what projects use
  dos.vm.usage:
    file: usage.html
  run_once: true
"""

RETURN = r"""
projects:
  description: >-
    For each project C(name), C(quotas) with C(used), C(before), C(limit) and C(share) of each, and C(vcpu_seconds).
  returned: always
  type: list
  elements: dict
"""
