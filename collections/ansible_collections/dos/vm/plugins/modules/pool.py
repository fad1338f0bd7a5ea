#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pool
short_description: Declare a storage pool
version_added: "0.1.0"
description:
  - Makes a storage pool of the host as it is declared, or removes it. The directory and what is in it always
    stay.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.pool
  - dos.vm.existence
  - dos.vm.connection
seealso:
  - module: dos.vm.pool_info
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: A directory for disks
  dos.vm.pool:
    name: default
    path: /var/lib/libvirt/images

- name: Forget the pool, and leave its directory as it is
  dos.vm.pool:
    name: default
    state: absent
"""

RETURN = r"""
pool:
  description: The storage pool as it is after the run, or before it in check mode; null when there is none.
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
  sample: [pool default has been defined, pool default has been started]
"""

from ansible_collections.dos.vm.plugins.module_utils.model.pool import Pool
from ansible_collections.dos.vm.plugins.module_utils.module import run


def main() -> None:
    run(Pool)


if __name__ == "__main__":
    main()
