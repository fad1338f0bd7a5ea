#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host
short_description: Make a host hold exactly what is declared
version_added: "0.1.0"
description:
  - Brings everything a host should hold to its declaration in one call, whatever the number of objects, in
    the order in which one stands on another. Without O(slice) it only looks, like M(dos.vm.host_info).
  - What failed does not stop what does not stand on it; the task then fails with everything it has done, and
    the same call goes on from there.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.host
seealso:
  - module: dos.vm.host_info
"""

EXAMPLES = r"""
- name: A network, a disk and a machine, in one call
  dos.vm.host:
    slice:
      pools:
        - {name: default, path: /var/lib/libvirt/images}
      volumes:
        - {pool: default, name: web-1.qcow2, capacity: 10 GiB}
      networks:
        - name: lab
          subnets:
            - address: 192.168.150.1/24
      domains:
        - name: web-1
          memory: 1 GiB
          disks:
            - {pool: default, volume: web-1.qcow2, format: qcow2}
          interfaces:
            - network: lab

- name: The same, ten minutes at a time
  dos.vm.host:
    slice: "{{ slice }}"
    secrets: "{{ vault_secrets }}"
    seconds: 600
    allow:
      restart: true
  register: run
  until: run.remaining == 0
  retries: 6
"""

RETURN = r"""
plans:
  description: What was to be done to each object that is not simply as declared.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
      returned: always
    name:
      description: Its name.
      type: str
      returned: always
    origin:
      description: Where in the inventory it is declared, if known.
      type: str
      returned: always
    verdict:
      description: One of V(create), V(change), V(remove), V(keep), V(left), V(unmanaged), V(conflict).
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
kept:
  description: How many objects are as declared.
  returned: always
  type: int
remaining:
  description: How many actions are left when O(seconds) ran out; calling again goes on with them.
  returned: always
  type: int
upcoming:
  description: The next action, where it takes long and was left to the next call for that; otherwise empty.
  returned: always
  type: str
failures:
  description: The objects that failed, each with the reason; what does not stand on them was done.
  returned: always
  type: list
  elements: dict
unanswered:
  description: >-
    Machines whose guest was asked to let go of something and has not done it in time, each with the reason. Nothing is
    lost, and the next call asks again.
  returned: always
  type: list
  elements: dict
facts:
  description: The C(domains) of the host with their C(name), C(state), C(active), C(vcpus) and C(memory) in bytes.
  returned: success or partial success
  type: dict
performed:
  description: Sentences that say what was done.
  returned: always
  type: list
  elements: str
  sample: [network lab has been defined, domain web-1 has been started]
"""

from ansible_collections.dos.vm.plugins.module_utils.module import run_host


def main() -> None:
    run_host()


if __name__ == "__main__":
    main()
