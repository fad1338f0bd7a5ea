#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: authority
short_description: Make certificate authorities, and replace them step by step
version_added: "0.1.0"
description:
  - Makes authorities on the controller, with keys under the pass phrase in the variable C(tls_ca_passphrase).
  - One that is about to end, or older than O(since), is replaced. First hosts trust its successor, then the successor signs,
    then the old one is forgotten. With O(advance) the next step is taken when every host of the group C(dos_hosts) has done,
    in this play, what the last one asks of it. At no time is there a pair of hosts that do not trust each other.
  - Runs on the controller; what hosts have is read from what M(dos.vm.certificates) was registered as, C(tls_certificates).
author:
  - dos.vm contributors (@dos-vm)
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return the status prediction without changing anything.
  diff_mode:
    support: none
    description: Returns what has changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    support: full
    description: When run twice in a row with the same arguments, the second run changes nothing.
extends_documentation_fragment:
  - dos.vm.authorities
  - dos.vm.authority
seealso:
  - module: dos.vm.certificates
"""

EXAMPLES = r"""
- name: An authority for libvirt and one for QEMU
  dos.vm.authority:
    folder: "{{ inventory_dir }}/.pki"
    names: [libvirt, qemu]
  run_once: true
"""

RETURN = r"""
steps:
  description: The step that was taken for each authority that needed one, or whom it waits for.
  returned: always
  type: dict
shared:
  description: Whether two of the authorities are one.
  returned: always
  type: bool
"""
