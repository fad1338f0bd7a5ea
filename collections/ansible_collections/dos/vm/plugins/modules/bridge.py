#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge
short_description: Declare a bridge
version_added: "0.1.0"
description:
  - Makes a bridge of the kernel or of Open vSwitch as it is declared, or removes it. It comes back when the host
    starts.
  - An interface that carries addresses of the host is refused as its uplink unless O(allow.uplink) names it; the
    addresses then move to the bridge, and back when it is removed.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.bridge
  - dos.vm.existence
  - dos.vm.connection
seealso:
  - module: dos.vm.bridge_info
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: A bridge over the second interface
  dos.vm.bridge:
    name: linux-office
    uplink: eth1

- name: A bridge of Open vSwitch, whose cable is a tunnel to two other hosts
  dos.vm.bridge:
    name: ovs-data
    type: openvswitch
    vxlan:
      id: 100
      local: 10.77.0.11
      peers: [10.77.0.12, 10.77.0.13]

- name: No such bridge
  dos.vm.bridge:
    name: linux-office
    state: absent
"""

RETURN = r"""
bridge:
  description: The bridge as it is after the run, or before it in check mode; null when there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    uuid:
      description: Its UUID, where it has one.
      type: str
      returned: always
    active:
      description: Whether it runs.
      type: bool
      returned: always
    autostart:
      description: Whether libvirt starts it by itself.
      type: bool
      returned: always
    ours:
      description: Whether it belongs to O(site).
      type: bool
      returned: always
    info:
      description: What else is known of it.
      type: dict
      returned: always
plans:
  description: What was to be done to the object; empty when it is as declared.
  returned: always
  type: list
  elements: dict
  contains:
    verdict:
      description: One of V(create), V(change), V(remove), V(keep).
      type: str
      returned: always
    disruption:
      description: The largest disturbance of what is done, from V(none) over V(live) and V(restart) to V(data_loss).
      type: str
      returned: always
    changes:
      description: Each difference by its path in the declaration, with C(op), C(before), C(after) and C(disruption).
      type: list
      elements: dict
      returned: always
    pending:
      description: Differences that wait for the next start of a running machine or network.
      type: list
      elements: dict
      returned: always
    actions:
      description: Sentences that say what will be done.
      type: list
      elements: str
      returned: always
    withheld:
      description: Sentences that say what would be done if C(needs) were allowed.
      type: list
      elements: str
      returned: always
    needs:
      description: What is missing from O(allow).
      type: str
      returned: always
    blocked_by:
      description: Missing objects that the object waits for, such as V(volume local/web-1-vda).
      type: list
      elements: str
      returned: always
    notes:
      description: >-
        Sentences about the object as it is, though nothing is done about it, such as a change that was made outside
        dos.vm.
      type: list
      elements: str
      returned: always
performed:
  description: Sentences that say what was done.
  returned: always
  type: list
  elements: str
  sample: [bridge br0 has been defined, bridge br0 has been started]
"""

from ansible_collections.dos.vm.plugins.module_utils.model.bridge import Bridge
from ansible_collections.dos.vm.plugins.module_utils.module import run


def main() -> None:
    run(Bridge)


if __name__ == "__main__":
    main()
