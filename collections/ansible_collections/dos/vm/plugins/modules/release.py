#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Sign that hosts run nothing any more
version_added: "0.1.0"
description:
  - Lets go of every machine that the store has on a host, so that it is placed anew. For a host that is broken, gone, or no
    longer in the inventory; one that only does not answer may still run its machines, and they would run twice.
  - Who signed it, when and why stays in the store.
author:
  - dos.vm contributors (@dos-vm)
options:
  hosts:
    description: The hosts that run nothing any more. Somebody has seen to that.
    type: list
    elements: str
    required: true
  site:
    description: The site.
    type: str
    default: dos
  reason:
    description: How that is known.
    type: str
    default: ""
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
  - module: dos.vm.recover
"""

EXAMPLES = r"""
- name: The host was taken out of its rack
  dos.vm.release:
    hosts: [h9]
    reason: unplugged, ticket 4711
  run_once: true
"""

RETURN = r"""
released:
  description: The machines that were let go, by host.
  returned: always
  type: dict
  sample: {"h9": ["web-1", "web-2"]}
"""
