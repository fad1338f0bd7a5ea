#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: block_copy
short_description: Copy a disk to another volume while its machine runs
version_added: "0.1.0"
description:
  - Copies a disk of a running machine onto a volume, of another pool for example, while the guest goes on writing. When both are the
    same the guest goes over to the volume, and the definition names it.
  - The old volume stays as it was at that moment. Whatever fails before leaves the guest on it.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.deed
  - dos.vm.block_copy
  - dos.vm.connection
seealso:
  - module: dos.vm.image_convert
"""

EXAMPLES = r"""
- name: To the faster pool, while it runs
  dos.vm.block_copy:
    domain: db-1
    target: vdb
    destination: fast/db-1-data
"""

RETURN = r"""
file:
  description: The file that the guest writes now.
  returned: success
  type: str
"""

from ansible_collections.dos.vm.plugins.module_utils.module_image import run_block_copy


def main() -> None:
    run_block_copy()


if __name__ == "__main__":
    main()
