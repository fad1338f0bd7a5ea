#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: place
short_description: Decide what runs where, and what each host should hold
version_added: "0.1.0"
description:
  - Places every machine of the site, from what M(dos.vm.host_info) found on each host, and makes of the site one slice per host
    for M(dos.vm.host). Nothing is contacted.
  - The answers of M(dos.vm.host_info) are expected to be registered as C(dos_run_facts) on each host.
  - A machine that no host can take fails the task with a reason for every host.
author:
  - dos.vm contributors (@dos-vm)
options:
  failed:
    description:
      - Hosts that could not start a machine in this run, by machine, as a list, or as a dictionary with their reasons. It is placed
        on another one if it can be; one that cannot fails nothing.
    type: dict
  told:
    description:
      - What M(dos.vm.fence) has told hosts already, by host and machine. When it is given, an empty one too, the decisions are kept
        only when every host was told what they take from it; RV(claimed) says whether they were.
    type: dict
  generation:
    description:
      - How far placements had come before the hosts were read, as M(dos.vm.site) or this module returned it. When they have
        changed since, nothing is decided, and RV(stale) says so; read the hosts again.
    type: int
  prune:
    description:
      - Whether the run removes VMs that are no longer declared, as O(dos.vm.host#module:prune) says. If false, they keep their
        addresses, their share of hosts and quotas, and no VM starts that would have one of their addresses or disks.
    type: bool
    default: false
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.host
  - module: dos.vm.host_info
"""

EXAMPLES = r"""
- name: Decide what runs where
  dos.vm.place:
  run_once: true
  register: placed
"""

RETURN = r"""
slices:
  description: What each host should hold, as M(dos.vm.host) takes it, by host.
  returned: success
  type: dict
ordered:
  description: The machines whose power is by order other than declared, each with V(on) or V(off).
  returned: success
  type: dict
images:
  description: The images that each host is to have and whose content is vouched for, as M(dos.vm.image) takes them, by host.
  returned: success
  type: dict
shared:
  description: A new word, C(mark), and by host the directories in which it leaves it and looks for it, see M(dos.vm.pool_check).
  returned: success
  type: dict
losses:
  description: Each host, and each group of hosts with a key, whose loss would leave machines without a host.
  returned: success
  type: list
  elements: dict
stale:
  description: Whether nothing was decided, since placements have changed after O(generation).
  returned: success
  type: bool
claimed:
  description: Whether the decisions are kept.
  returned: success
  type: bool
generation:
  description: How far placements have come with these decisions; for the next O(generation).
  returned: success
  type: int
pending:
  description: The machines that are to be on and have no host, with the reason, and since when as far as the store knows.
  returned: success
  type: dict
taken:
  description: By host, the machines that were to be there and are given to another one, for M(dos.vm.fence).
  returned: success
  type: dict
findings:
  description: What contradicts what, a sentence each.
  returned: success
  type: list
  elements: str
foreign:
  description: >-
    Hosts by whose name another machine answers than the one that VMs were placed on, each with what to do. They are not
    used, and those VMs wait.
  returned: success
  type: dict
errors:
  description: Those of the findings with which a run fails, such as two VMs that write one disk.
  returned: success
  type: list
  elements: str
waiting:
  description: The VMs that have no host or are not started, each with C(vm), C(reason) and C(since) as far as the store knows.
  returned: success
  type: list
  elements: dict
unmoved:
  description: The running VMs that must leave their host and that no host can take, each with C(vm), C(host) and C(reason).
  returned: success
  type: list
  elements: dict
gateways:
  description: The automatic gateways, each with C(network), its C(host), which is empty where it waits, and the C(reason).
  returned: success
  type: list
  elements: dict
not_asked:
  description: Hosts of the site that a limit leaves out.
  returned: success
  type: list
  elements: str
waves:
  description: >-
    The machines that are started after others, wave by wave, each with its C(starts), its C(gates) and the C(checks) by host,
    for M(dos.vm.starts) and M(dos.vm.readiness).
  returned: success
  type: list
  elements: dict
decisions:
  description: The host of each machine, the one it should go to, and why, by machine.
  returned: success
  type: dict
"""
