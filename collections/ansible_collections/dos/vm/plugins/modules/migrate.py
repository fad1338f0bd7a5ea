#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate
short_description: Move a virtual machine to another host while it runs
version_added: "0.1.0"
description:
  - Moves a machine from the host this runs on to another. One that runs keeps running; of one that is off the definition moves.
  - Everything that stands in the way is found and told at once, before the machine is touched. A migration that fails, is
    aborted, or takes longer than O(limit) leaves the machine running where it was.
  - Libvirt's daemons do the work between them. With O(seconds) a call only begins it and watches for a while; calling again
    watches on, and finishes what an earlier call could not.
  - In check mode it fails with what stands in the way, as it would otherwise, and says what would be copied.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.migration
seealso:
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: To a host that sees the same storage, through libvirt's own ssh connection
  dos.vm.migrate:
    domain: report
    source: h1
    target: h2
    address: 10.77.0.12
  delegate_to: h1

- name: With its disk, encrypted by QEMU, at most ten minutes, and standing still at the end if need be
  dos.vm.migrate:
    domain: web-1
    source: h1
    target: h2
    address: h2.example
    transport: tls
    storage: copied
    limit: 600
    at_limit: suspend
  delegate_to: h1

- name: Not after all
  dos.vm.migrate:
    domain: web-1
    source: h1
    target: h2
    address: h2.example
    abort: true
  delegate_to: h1
"""

RETURN = r"""
performed:
  description: Sentences that say what was done.
  returned: always
  type: list
  elements: str
  sample: [domain web-1 has been moved from h1 to h2, volume local/web-1-vda has been removed from h1]
reasons:
  description: What stands in the way; the task fails with it, in check mode as well, and the machine was not touched.
  returned: always
  type: list
  elements: str
notes:
  description: What a person should know and that stands in nobody's way.
  returned: always
  type: list
  elements: str
copied:
  description: The disks that are, or would be, copied.
  returned: always
  type: list
  elements: str
remaining:
  description: Whether the migration is still under way; calling again watches on.
  returned: always
  type: bool
awake:
  description: Whether the machine ran when its migration began; for O(awake) of the next call.
  returned: always
  type: bool
saved:
  description: Whether its memory was saved when its migration began; for O(saved) of the next call.
  returned: always
  type: bool
progress:
  description: How far it is, in C(percent), and C(sent) and C(left) in bytes, after so many C(seconds).
  returned: always
  type: dict
figures:
  description: What libvirt measured, C(total_ms) and C(downtime_ms), and what was sent of C(memory) and C(disk) in bytes.
  returned: always
  type: dict
"""

from contextlib import closing
from dataclasses import asdict
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.errors import ConflictError
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.libvirt import LibvirtHypervisor
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.migrate import migrate
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.model.migration import Migration
from ansible_collections.dos.vm.plugins.module_utils.module import Module, given, report


def wanted(params: Any) -> Migration:
    own = {name: value for name, value in params.items() if value is not None and not name.startswith("_ansible")}
    return decode(Migration, given(own))


def work(module: Module) -> dict[str, Any]:
    asked = wanted(module.params)
    with closing(LibvirtHypervisor(asked.uri)) as source:
        moved = migrate(asked, source, dry_run=module.check_mode)
    told = {**asdict(moved), "progress": {**asdict(moved.progress), "percent": moved.progress.percent}}
    if moved.reasons:
        head = f"{asked.domain} cannot go from {asked.source} to {asked.target}:"
        text = "\n  ".join([head, *moved.reasons])
        module.fail_json(text, error=ConflictError.__name__, retryable=ConflictError.retryable, **told)
    return told


def main() -> None:
    module = Module(argument_spec(Migration), wanted)
    report(module, lambda: work(module))


if __name__ == "__main__":
    main()
