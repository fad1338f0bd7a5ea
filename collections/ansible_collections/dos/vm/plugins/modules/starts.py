#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: starts
short_description: Decide which machines start after others
version_added: "0.1.0"
description:
  - Decides which machines of a wave start now that M(dos.vm.readiness) has told who is ready, and shows why the others do not.
    Nothing is contacted.
author:
  - dos.vm contributors (@dos-vm)
options:
  wave:
    description: The wave, as M(dos.vm.place) returned it.
    type: dict
    required: true
  answers:
    description: What M(dos.vm.readiness) returned, by host.
    type: dict
    required: true
  before:
    description: What this module returned for the wave before.
    type: dict
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.readiness
  - module: dos.vm.place
"""

EXAMPLES = r"""
- name: Decide who starts
  dos.vm.starts:
    wave: "{{ placed.waves[0] }}"
    answers: "{{ answers }}"
  run_once: true
  register: starts
"""

RETURN = r"""
hosts:
  description: The machines of this wave that start, by host.
  returned: success
  type: dict
released:
  description: The machines that start, of this wave and of those before it.
  returned: success
  type: list
  elements: str
held:
  description: By host and machine, why it does not start, in this wave or one before it.
  returned: success
  type: dict
"""
