#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: site
short_description: Check the whole declaration of a site
version_added: "0.1.0"
description:
  - Reads every C(dos_*) variable, of all files, and checks the whole of it on the controller. No host is contacted.
  - Fails with every problem at once, each with the file and line it is written at and what to write instead.
author:
  - dos.vm contributors (@dos-vm)
options:
  usage:
    description:
      - Whether it is shown what projects use of their quotas by declaration alone, without power overrides.
    type: bool
    default: true
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.place
"""

EXAMPLES = r"""
- name: Check the site before any host is contacted
  dos.vm.site:
  run_once: true
"""

RETURN = r"""
counts:
  description: How many objects there are of each kind.
  returned: success
  type: dict
  sample: {"networks": 2, "instances": 5}
generation:
  description: How far placements have come, as far as the store can tell; for O(dos.vm.place#module:generation).
  returned: success
  type: int
files:
  description: The files of images that are not brought to hosts; for O(dos.vm.host#module:files).
  returned: success
  type: list
  elements: str
images:
  description: The file of each image that is declared, by its name.
  returned: success
  type: dict
"""
