#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: assertions
short_description: Compare what a site asserts of its networks with what packets did
version_added: "0.1.0"
description:
  - Without O(seen), finds the packets that C(dos_assertions) of the site come to, for M(dos.vm.probe) on each host. The answers of
    M(dos.vm.host_info) are expected to be registered as C(dos_run_facts) on each host. Nothing is contacted.
  - With O(seen), shows for each assertion what is expected and what was seen, and fails where these differ.
author:
  - dos.vm contributors (@dos-vm)
options:
  asked:
    description:
      - What this module returned as C(asked).
    type: list
    elements: dict
  seen:
    description:
      - By host what M(dos.vm.probe) returned there.
    type: dict
extends_documentation_fragment:
  - dos.vm.attributes.info
seealso:
  - module: dos.vm.probe
"""

EXAMPLES = r"""
- name: Decide what to ask
  dos.vm.assertions:
  run_once: true
  register: wanted
"""

RETURN = r"""
probes:
  description: By host what O(dos.vm.probe#module:probes) takes.
  returned: without O(seen)
  type: dict
asked:
  description: The assertions, each with the probes that answer it.
  returned: without O(seen)
  type: list
  elements: dict
assertions:
  description: >-
    The assertions, each with C(name), C(text), C(expected), C(seen), which is null where it cannot be told, C(why), and of how
    many pairs, C(of), how many were C(as_expected).
  returned: with O(seen)
  type: list
  elements: dict
"""
