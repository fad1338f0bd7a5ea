#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: policy
short_description: Check that whoever changed the declaration may
version_added: "0.1.0"
description:
  - Compares what the inventory declares with what it declared before, object by object, and refuses what whoever changed it has
    no right to change. Every refusal names its rule. Nothing is contacted.
  - Rights are those of C(dos_users) and C(dos_projects) before the change.
  - Each commit is checked by itself, and what is not committed as one more change.
author:
  - dos.vm contributors (@dos-vm)
options:
  before:
    description:
      - A revision of the git repository that the inventory is in, or the path of another inventory.
    type: str
    default: HEAD
  actor:
    description:
      - The account in C(dos_users), or an address of it, of whoever changed it. The author of each commit when not given.
    type: str
    default: ""
  confirm:
    description: Projects that may be removed with everything that belongs to them.
    type: list
    elements: str
    default: []
  signed:
    description: Whether each commit must bear a signature that git accepts, so that its author is who it says.
    type: bool
    default: false
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.site
"""

EXAMPLES = r"""
- name: May the authors of this branch do that
  dos.vm.policy:
    before: origin/main
    signed: true
  run_once: true
"""

RETURN = r"""
changes:
  description: What is different, with C(path), C(op), C(fields), C(step) and C(actor).
  returned: always
  type: list
  elements: dict
refusals:
  description: What may not be, with C(path), C(rule), C(text), C(step) and C(actor).
  returned: always
  type: list
  elements: dict
"""
