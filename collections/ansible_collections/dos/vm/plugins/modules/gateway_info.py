#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_info
short_description: List the gateways of a host
version_added: "0.1.0"
description:
  - Lists the gateways of a host with their state, their XML, and the declaration that would make
    each.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.info
  - dos.vm.query
  - dos.vm.connection
seealso:
  - module: dos.vm.gateway
"""

EXAMPLES = r"""
- name: What of ours is on the host
  dos.vm.gateway_info:
    ours: true
  register: found

- name: The names
  ansible.builtin.debug:
    msg: "{{ found.gateways | map(attribute='name') }}"
"""

RETURN = r"""
gateways:
  description: The gateways that were asked for, by name.
  returned: always
  type: list
  elements: dict
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
    persistent:
      description: Whether it is there again after the host has been restarted.
      type: bool
      returned: always
    ours:
      description: Whether it belongs to O(site).
      type: bool
      returned: always
    declaration:
      description: What M(dos.vm.gateway) must be given to make it as it is, without defaults.
      type: dict
      returned: always
    xml:
      description: Its definition, with secrets hidden.
      type: str
      returned: always
    info:
      description: What XML does not say.
      type: dict
      returned: always
"""

from ansible_collections.dos.vm.plugins.module_utils.model.gateway import Gateway
from ansible_collections.dos.vm.plugins.module_utils.module import run_info


def main() -> None:
    run_info(Gateway)


if __name__ == "__main__":
    main()
