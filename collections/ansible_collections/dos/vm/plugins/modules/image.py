#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Bring an image to a host, prove it, or delete it
version_added: "0.1.0"
description:
  - Has the file of an image on the host with the content that its checksum says, sent from the controller where it is missing.
  - What was cut off is gone on with. What arrived takes its place only when its checksum and its header are as declared.
  - A header is read as bytes and never followed; a file that names others as its backing or its data is refused.
  - Deleting the file is refused while a machine is defined with it or something is layered over it.
author:
  - dos.vm contributors (@dos-vm)
extends_documentation_fragment:
  - dos.vm.attributes.deed
  - dos.vm.image
  - dos.vm.connection
seealso:
  - module: dos.vm.image_convert
"""

EXAMPLES = r"""
- name: The image that machines start from
  dos.vm.image:
    file: /srv/images/debian-12.qcow2
    source: "{{ inventory_dir }}/images/debian-12.qcow2"
    format: qcow2
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

- name: No longer needed anywhere
  dos.vm.image:
    file: /srv/images/debian-11.qcow2
    state: absent
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
checksum:
  description: What its content is.
  returned: when it was read
  type: str
sent:
  description: Bytes that were sent.
  returned: after an upload
  type: int
resumed_at:
  description: The byte at which an upload went on.
  returned: after an upload
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
present:
  description: Whether the file is there, with the content that was asked for.
  returned: always
  type: bool
copied:
  description: Whether the host copied it itself.
  returned: where the host is the machine that Ansible runs on
  type: bool
offset:
  description: The byte from which on an upload is missing.
  returned: before an upload
  type: int
part:
  description: The file on the host that an upload is collected in.
  returned: before an upload
  type: str
"""

from ansible_collections.dos.vm.plugins.module_utils.module_image import run_image


def main() -> None:
    run_image()


if __name__ == "__main__":
    main()
