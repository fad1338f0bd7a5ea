#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_rebase
short_description: Move a layer onto another base
version_added: "0.1.0"
description:
  - Layers a disk over another base and keeps what it holds, by copying into it what differs between the two bases.
  - It is done on a copy, which is compared with the original before it takes its place.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.deed
  - dos.vm.image_rebase
  - dos.vm.connection
seealso:
  - module: dos.vm.image_convert
"""

EXAMPLES = r"""
- name: Onto the image with this month's updates
  dos.vm.image_rebase:
    disk: fast/web-1-vda
    base: /srv/images/debian-12-november.qcow2
    base_format: qcow2
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
  returned: success
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

from ansible_collections.dos.vm.plugins.module_utils.module_image import run_rebase


def main() -> None:
    run_rebase()


if __name__ == "__main__":
    main()
