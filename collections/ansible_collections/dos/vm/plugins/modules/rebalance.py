#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rebalance
short_description: Propose moves that even out how full the hosts are
version_added: "0.1.0"
description:
  - Proposes moves of running machines from fuller to emptier hosts, each with what it gains, no more than asked for, and none when
    none is worth it. A host is as full as what it has least of, memory or virtual CPUs.
  - Nothing is contacted, and nothing moves.
  - The answers of M(dos.vm.host_info) are expected to be registered as C(dos_run_facts) on each host, or in the file that the
    variable C(dos_facts_file) names.
author:
  - dos.vm contributors (@dos-vm)
options:
  moves:
    description: At most so many moves; as C(dos_placement.rebalance.moves) says when not given.
    type: int
  file:
    description: File on the controller to write the moves to, as JSON.
    type: path
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
"""

EXAMPLES = r"""
- name: Propose at most five moves
  dos.vm.rebalance:
    moves: 5
  run_once: true
"""

RETURN = r"""
moves:
  description: The proposed moves with C(vm), C(source), C(target), C(why), and C(gain) in percent of a host.
  returned: success
  type: list
  elements: dict
before:
  description: How full the C(fullest) and the C(emptiest) host are, 0 to 1, and the standard C(deviation).
  returned: success
  type: dict
after:
  description: The same after the moves.
  returned: success
  type: dict
"""
