#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: moves
short_description: Decide which machines change their hosts
version_added: "0.1.0"
description:
  - Finds the moves that a rule or a declared host forces, or that somebody asks for, from what M(dos.vm.host) found on each host,
    registered as C(dos_run_facts). Nothing is contacted; M(dos.vm.migrate) performs them.
  - Where machines may move, where they go is in the store afterwards, so that of two who move one machine one does.
    M(dos.vm.recover) corrects it where a machine stayed.
author:
  - dos.vm contributors (@dos-vm)
options:
  allow:
    description: What the run may do, as C(dos_allow) says it; with V(migrate) machines may move.
    type: raw
  drain:
    description: Hosts to empty. What runs there leaves with as few moves as can be; what is off stays.
    type: list
    elements: str
  back:
    description: Moves of a drain, to be undone where their machines still are where it put them.
    type: list
    elements: dict
  vms:
    description: Machines to move, to O(to) or to the best host they are not on.
    type: list
    elements: str
  to:
    description: The host for O(vms).
    type: str
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
  - module: dos.vm.migrate
"""

EXAMPLES = r"""
- name: Who would leave
  dos.vm.moves:
    allow: [migrate]
    drain: [h1]
  run_once: true
  register: found
"""

RETURN = r"""
moves:
  description:
    - What M(dos.vm.migrate) is to do, in this order, with C(domain), C(source), C(target), C(address), and C(why). Without
      O(drain), O(back) or O(vms) these are the moves that a rule or a declared host forces, and what is left of earlier ones.
  returned: success
  type: list
  elements: dict
withheld:
  description: The same, when machines may not move.
  returned: success
  type: list
  elements: dict
stuck:
  description: The machines that should move and cannot, each with the reason of every host.
  returned: success
  type: dict
blocked:
  description: The same as a list, each with C(domain), C(source), the hosts that refuse it as C(targets), and C(why).
  returned: success
  type: list
  elements: dict
leaving:
  description: By host, the machines that leave it and the epochs of their new placements, for M(dos.vm.fence).
  returned: success
  type: dict
prepared:
  description: What the hosts that machines go to should hold when these come, by host.
  returned: success
  type: dict
coming:
  description: The objects in RV(prepared) by kind and name, by host.
  returned: success
  type: dict
"""
