#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: console
short_description: A short way in to a machine's console
version_added: "0.1.0"
description:
  - Lays a password on the remote console of a running machine, VNC or SPICE, that ends by itself, and tells where the console is.
    The definition is not touched. The machine's next start, and the next run of the site, have the declared password.
  - On the controller the password is made and written to O(password_file), which only its owner reads; it is never shown. The answer
    has the commands that lead to the console through ssh, with nothing listening anywhere that did not before.
  - A console that was started without a password can be given none, and the answer says so.
author:
  - dos.vm contributors (@dos-vm)
options:
  password_file:
    description:
      - File on the controller that the password is written to, for a viewer that takes one, and that V(close) removes.
    type: path
    default: "./console-NAME.password"
extends_documentation_fragment:
  - dos.vm.attributes
  - dos.vm.visiting
seealso:
  - module: dos.vm.vm
"""

EXAMPLES = r"""
- name: Five minutes to begin in
  dos.vm.console:
    vm: web-1
    seconds: 300

- name: No longer
  dos.vm.console:
    vm: web-1
    order: close
"""

RETURN = r"""
console:
  description: Where the console is, seen from the host.
  returned: always
  type: dict
  contains:
    type:
      description: V(vnc) or V(spice); empty where there is no remote console.
      type: str
      returned: always
    address:
      description: Address it is reached at on the host.
      type: str
      returned: always
    port:
      description: TCP port.
      type: int
      returned: always
    until:
      description: When its password ends, in UTC; empty where none was given.
      type: str
      returned: always
    done:
      description: What was done.
      type: str
      returned: always
    note:
      description: Why nothing was, for people.
      type: str
      returned: always
commands:
  description: By what they are for, C(tunnel), C(viewer) and C(serial), the commands to type on the controller.
  returned: always
  type: dict
password_file:
  description: Where the password is, on the controller.
  returned: when one was laid on
  type: str
"""

import time
from contextlib import closing
from dataclasses import asdict
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.hypervisor.consoles import visit
from ansible_collections.dos.vm.plugins.module_utils.hypervisor.libvirt import LibvirtHypervisor
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.console import Visit
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.module import Module, given, report


def wanted(params: dict[str, Any]) -> Visit:
    """`password_file` is the controller's own affair."""
    said = {
        name: value for name, value in params.items() if not name.startswith("_ansible") and name != "password_file"
    }
    return decode(Visit, given(said))


def work(module: Module) -> dict[str, Any]:
    asked = wanted(module.params)
    with closing(LibvirtHypervisor(asked.uri)) as hypervisor:
        console = visit(asked, hypervisor, dry_run=module.check_mode, now=time.time())
    return {"changed": bool(console.done), "console": asdict(console)}


def main() -> None:
    spec = {
        **argument_spec(Visit),
        "password_file": {"type": "path", "default": "./console-NAME.password", "no_log": False},
    }
    module = Module(spec, wanted)
    report(module, lambda: work(module))


if __name__ == "__main__":
    main()
