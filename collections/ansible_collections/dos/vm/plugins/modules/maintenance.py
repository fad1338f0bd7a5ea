#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance
short_description: Note on a host that nothing new may come to it
version_added: "0.1.0"
description:
  - A host in maintenance takes no machines, and those that run there leave where a play may move them. The note is on the host
    itself, so that it is known without a store and survives a reboot.
  - The note remembers which machines left, so that they can return.
author:
  - dos.vm contributors (@dos-vm)
options:
  state:
    description: Whether the host is in maintenance.
    type: str
    choices: [present, absent]
    default: present
  reason:
    description: Why, for those who wonder.
    type: str
    default: maintenance
  moves:
    description: The machines that leave, as M(dos.vm.moves) returned them; those that were noted before stay noted.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.moves
"""

EXAMPLES = r"""
- name: Nothing new comes here
  dos.vm.maintenance:
    reason: a new power supply

- name: It is in service again
  dos.vm.maintenance:
    state: absent
  register: was
"""

RETURN = r"""
moves:
  description: The machines that left and are noted; with O(state=absent) those that were.
  returned: always
  type: list
  elements: dict
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dos.vm.plugins.module_utils.hypervisor.maintenance import MAINTENANCE, read, write


def merged(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A machine that left twice is remembered by its last target, and by where it was first."""
    held = {move["domain"]: move for move in before}
    for move in now:
        first = held.get(move["domain"], move)
        held[move["domain"]] = {name: move[name] for name in ("domain", "target")} | {"source": first["source"]}
    return [held[name] for name in sorted(held)]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "reason": {"default": "maintenance"},
            "moves": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    before = read()
    moves = (before or {}).get("moves", [])
    if module.params["state"] == "absent":
        if before is not None and not module.check_mode:
            MAINTENANCE.unlink()
        module.exit_json(changed=before is not None, moves=moves)
    since = (before or {}).get("since") or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    note = {"reason": module.params["reason"], "since": since, "moves": merged(moves, module.params["moves"])}
    if note != before and not module.check_mode:
        write(note)
    module.exit_json(changed=note != before, moves=note["moves"])


if __name__ == "__main__":
    main()
