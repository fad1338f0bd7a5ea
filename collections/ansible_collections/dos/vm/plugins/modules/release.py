#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Confirm that hosts run nothing any more
version_added: "0.1.0"
description:
  - Frees every VM that the store has on a host, so that it is placed anew, and lets automatic gateways follow. For a host that
    is broken, gone, no longer in the inventory, or installed anew. A host that is only unreachable may still run its VMs, and
    they would run twice.
  - Shows first what can still be seen of each host. Refuses a host that is not known, one that was not asked, and one that
    answers by its name, by another name, or to a ping from the controller. A host whose name another system has by now can be
    released.
  - The confirmation is evidence in the store. It is bound to the installed system of the host, and ends when that answers again.
  - The answers of M(dos.vm.host) are expected to be registered as C(dos_run_facts) on each host of the inventory.
author:
  - dos.vm contributors (@dos-vm)
options:
  hosts:
    description: The hosts that run nothing any more, as a list or separated by commas.
    type: raw
    required: true
  confirm:
    description: The same names again. Without them nothing is changed.
    type: raw
    default: []
  site:
    description: The site.
    type: str
    default: dos
  reason:
    description: How it is known that the hosts run nothing. Required to confirm.
    type: str
    default: ""
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
  - module: dos.vm.recover
"""

EXAMPLES = r"""
- name: Read the hosts
  dos.vm.host:
  register: dos_run_facts
  ignore_unreachable: true

- name: The host was taken out of its rack
  dos.vm.release:
    hosts: [h9]
    confirm: [h9]
    reason: unplugged, ticket 4711
  run_once: true
"""

RETURN = r"""
released:
  description: The VMs that were placed on each host, and are free now.
  returned: success
  type: dict
  sample: {"h9": ["web-1", "web-2"]}
"""
