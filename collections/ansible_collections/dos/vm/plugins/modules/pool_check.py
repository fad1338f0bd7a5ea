#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pool_check
short_description: Prove that hosts share a directory
version_added: "0.1.0"
description:
  - One host leaves a note in a directory, the others look for it, and it is removed. M(dos.vm.host) would otherwise believe
    what the declaration says of a shared pool, and a host whose cluster file system is not mounted would make volumes of its own.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.deed
  - dos.vm.pool_check
  - dos.vm.connection
seealso:
  - module: dos.vm.pool
"""

EXAMPLES = r"""
- name: Leave a note
  dos.vm.pool_check:
    path: /shared/vm
    mark: "{{ mark }}"
    state: left
  register: left
  run_once: true

- name: Look for it everywhere
  dos.vm.pool_check:
    path: /shared/vm
    mark: "{{ mark }}"
    folder: "{{ left.folder }}"
    state: seen
"""

RETURN = r"""
folder:
  description: The directory that the note is in, which is the nearest one above O(path) that exists.
  returned: success
  type: str
"""

from ansible_collections.dos.vm.plugins.module_utils.module_image import run_pool_check


def main() -> None:
    run_pool_check()


if __name__ == "__main__":
    main()
