#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_convert
short_description: Write a disk anew in another format, smaller, or standing alone
version_added: "0.1.0"
description:
  - Converts a disk among raw, qcow2, qcow, qed, vmdk, vpc and vdi; compresses it; leaves out what its file systems have free;
    takes in what it is layered over, which merges an incremental snapshot with its base into an independent volume.
  - The result is checked and compared with its source before it takes its place; until then the original is untouched.
  - The work goes on when the connection is lost. The same call finds it again.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.deed
  - dos.vm.image_convert
  - dos.vm.connection
seealso:
  - module: dos.vm.image_rebase
  - module: dos.vm.image_edit
"""

EXAMPLES = r"""
- name: A disk from another product
  dos.vm.image_convert:
    source: /srv/incoming/appliance.vmdk
    destination: fast/appliance
    format: qcow2

- name: Merge a snapshot with what it is layered over into a volume of its own
  dos.vm.image_convert:
    source: fast/web-monday
    destination: fast/web-restored
    flatten: true

- name: Save a volume as an image
  dos.vm.image_convert:
    source: fast/web-1-root
    destination: /srv/shared/shop/web.qcow2
    flatten: true

- name: Give back what the file systems in an image have free
  dos.vm.image_convert:
    source: /srv/images/debian-12.qcow2
    sparsify: true
    compress: true
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
before:
  description: Bytes that the source takes.
  returned: when the work is done
  type: int
after:
  description: Bytes that the result takes.
  returned: when the work is done
  type: int
image:
  description: What to declare in C(dos_images) to register the result, C(file), C(format), C(size) and C(checksum).
  returned: when the work is done, for an O(destination) that is a path
  type: dict
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

from ansible_collections.dos.vm.plugins.module_utils.module_image import run_convert


def main() -> None:
    run_convert()


if __name__ == "__main__":
    main()
