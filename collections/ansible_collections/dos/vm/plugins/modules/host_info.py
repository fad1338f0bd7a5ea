#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Tell what a host has, holds and can do
version_added: "0.1.0"
description:
  - Tells what a host has and can do, and every object it holds in a line, which is what placement and a status table
    need.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.info
  - dos.vm.looking
seealso:
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: Look at the host
  dos.vm.host_info:
  register: host

- name: Which addresses were handed out
  ansible.builtin.debug:
    msg: "{{ host.networks | map(attribute='leases') | flatten }}"
"""

RETURN = r"""
facts:
  description: What the host has and can do.
  returned: always
  type: dict
  sample: {arch: x86_64, cpus: 8, hostname: host-1, kvm: true, libvirt: 9000000, memory: 32 GiB}
ours:
  description: What belongs to O(site), each by kind and name.
  returned: always
  type: list
  elements: str
unmanaged:
  description: What does not, and is never touched.
  returned: always
  type: list
  elements: str
domains:
  description: >-
    The virtual machines with C(name), C(uuid), C(state), C(active), C(autostart), C(ours), C(vcpus), C(memory) in
    bytes, C(project), C(origin), C(epoch), C(id), C(macs), C(console) and the C(disks) that they name; of the site also C(interfaces). Of
    the site, and of every one that runs, C(writes) are the disks that it may write to, with the C(path) without links and the C(marks)
    that tell whether two paths lead to one thing.
  returned: always
  type: list
  elements: dict
health:
  description: >-
    By machine of the site, the C(reason) for the state it is in where somebody should look into it, and what its C(agent) does
    where it has one, in words; and the C(addresses) that the agent tells.
  returned: when O(health=true)
  type: dict
pools:
  description: The storage pools with their C(capacity), C(allocation) and C(available) bytes.
  returned: always
  type: list
  elements: dict
networks:
  description: >-
    The networks with their DHCP C(leases), each with C(mac), C(ip), C(prefix), C(hostname) and C(expires), and
    C(reservations), each with C(mac), C(ip) and C(name).
  returned: always
  type: list
  elements: dict
tunnels:
  description: The tunnels of the site's bridges, each with C(bridge), C(id), C(port), C(local) and C(peers).
  returned: always
  type: list
  elements: dict
gateways:
  description: The gateways with their C(reservations), each with C(mac), C(ip) and C(name).
  returned: always
  type: list
  elements: dict
volumes:
  description: >-
    The volumes of active pools; of those that are not active, the files in directories, with C(active) false and without
    sizes. C(backing) is what one is layered over.
  returned: always
  type: list
  elements: dict
missing_files:
  description: Those of the O(dos.vm.host#module:files) that are not there.
  returned: always
  type: list
  elements: str
nwfilters:
  description: The network filters, libvirt's own among them.
  returned: always
  type: list
  elements: dict
secrets:
  description: The names of secrets.
  returned: always
  type: list
  elements: dict
"""

from ansible_collections.dos.vm.plugins.module_utils.module import run_host_info


def main() -> None:
    run_host_info()


if __name__ == "__main__":
    main()
