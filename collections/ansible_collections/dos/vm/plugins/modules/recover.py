#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: recover
short_description: Make the store say what the hosts say
version_added: "0.1.0"
description:
  - Writes into the store of the site where every machine of the site is, from what M(dos.vm.host_info) found on each host,
    which was registered as C(dos_run_facts). A store that was lost is made anew; one that is there is corrected.
  - A machine that is on two hosts fails the task and is left to a person; everything else is written all the same.
  - Hosts that did not answer keep what is remembered of them.
author:
  - dos.vm contributors (@dos-vm)
options:
  site:
    description: The site.
    type: str
    default: dos
  vms:
    description: Only these machines, which have just been moved; contradictions about others are not told.
    type: list
    elements: str
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.host_info
  - module: dos.vm.place
"""

EXAMPLES = r"""
- name: Make the store say what the hosts say
  dos.vm.recover:
    site: shop
  run_once: true
"""

RETURN = r"""
placements:
  description: The placements that were not as the hosts say, with host and epoch, by machine.
  returned: always
  type: dict
  sample: {"web-1": {"host": "h1", "epoch": 3}}
findings:
  description: What contradicts what, a sentence each.
  returned: always
  type: list
  elements: str
silent:
  description: Hosts that did not answer.
  returned: always
  type: list
  elements: str
"""
