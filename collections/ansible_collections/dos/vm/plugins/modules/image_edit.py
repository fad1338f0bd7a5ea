#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_edit
short_description: Seal a disk, or change files inside it, while nobody runs it
version_added: "0.1.0"
description:
  - Changes what is inside a disk by libguestfs, whose appliance opens the file systems; nothing of the disk is mounted on the host.
  - Sealing takes out what makes a machine itself, so that many machines may start from the disk.
  - It is done on a copy, which is checked before it takes the place of the disk.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.deed
  - dos.vm.image_edit
  - dos.vm.connection
seealso:
  - module: dos.vm.image_convert
"""

EXAMPLES = r"""
- name: Make an image of an installed system
  dos.vm.image_edit:
    disk: fast/golden
    seal: true
    delete:
      - /root/notes.txt

- name: A forgotten password and a wrong address
  dos.vm.image_edit:
    disk: fast/web-1-vda
    passwords:
      root: web-root # a secret of dos_secrets
    files:
      - path: /etc/network/interfaces.d/eth0
        content: |
          auto eth0
          iface eth0 inet dhcp
"""

RETURN = r"""
file:
  description: The file on the host.
  returned: success
  type: str
format:
  description: What the header of the file says.
  returned: when the work is done
  type: str
capacity:
  description: The logical size, in bytes.
  returned: when the work is done
  type: int
backing:
  description: What it is layered over.
  returned: when the work is done
  type: str
outside:
  description: What its header names besides the backing, such as a data file.
  returned: when the work is done
  type: list
  elements: str
encrypted:
  description: Whether its content is encrypted.
  returned: when the work is done
  type: bool
packed:
  description: Whether its content is compressed.
  returned: when the work is done
  type: bool
size:
  description: Bytes of the file.
  returned: when the work is done
  type: int
"""

from ansible_collections.dos.vm.plugins.module_utils.module_image import run_edit


def main() -> None:
    run_edit()


if __name__ == "__main__":
    main()
