#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nwfilter
short_description: Declare a network filter
version_added: "0.1.0"
description:
  - Makes a network filter of the host as it is declared, or removes it. Interfaces that name it follow at
    once.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.nwfilter
  - dos.vm.existence
  - dos.vm.connection
seealso:
  - module: dos.vm.nwfilter_info
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: Only a web server, and nobody else's addresses
  dos.vm.nwfilter:
    name: web
    references:
      - filter: clean-traffic
    rules:
      - {action: accept, direction: in, protocol: tcp, match: {dstportstart: "80"}}
      - {action: drop, direction: in, priority: 900}

- name: No such filter
  dos.vm.nwfilter:
    name: web
    state: absent
"""

RETURN = r"""
nwfilter:
  description: The network filter as it is after the run, or before it in check mode; null when there is none.
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
  sample: [nwfilter web has been defined]
"""

from ansible_collections.dos.vm.plugins.module_utils.model.nwfilter import Nwfilter
from ansible_collections.dos.vm.plugins.module_utils.module import run


def main() -> None:
    run(Nwfilter)


if __name__ == "__main__":
    main()
