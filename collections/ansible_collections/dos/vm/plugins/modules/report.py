#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Show the plans of all hosts as one
version_added: "0.1.0"
description:
  - Shows what M(dos.vm.host) answered for each host as a text for people, and writes it as JSON for pipelines.
author:
  - dos.vm contributors (@dos-vm)
options:
  results:
    description: The registered results of M(dos.vm.host), by host.
    type: dict
    required: true
  file:
    description: File on the controller that receives the plans as JSON; none when empty.
    type: path
  moves:
    description: The moves that M(dos.vm.moves) returned.
    type: list
    elements: dict
    default: []
  withheld:
    description: Those that nobody allowed.
    type: list
    elements: dict
    default: []
  stuck:
    description: The moves that cannot be made, as M(dos.vm.moves) returned them in C(blocked).
    type: list
    elements: dict
    default: []
  findings:
    description: What contradicts what, as M(dos.vm.place) returned it.
    type: list
    elements: str
    default: []
  errors:
    description: Those of O(findings) with which the run fails.
    type: list
    elements: str
    default: []
  waiting:
    description: The VMs that have no host or are not started, as M(dos.vm.place) returned them.
    type: list
    elements: dict
    default: []
  unmoved:
    description: The running VMs that must leave their host and that no host can take, as M(dos.vm.place) returned them.
    type: list
    elements: dict
    default: []
  gateways:
    description: The automatic gateways, as M(dos.vm.place) returned them.
    type: list
    elements: dict
    default: []
  not_asked:
    description: Hosts of the site that a limit leaves out.
    type: list
    elements: str
    default: []
  exit_code:
    description: Whether the task fails when something is to be done, for a pipeline to see.
    type: bool
    default: false
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.host
"""

EXAMPLES = r"""
- name: Report
  dos.vm.report:
    results: {"h1": "{{ hostvars.h1.dos_run_result }}"}
    file: plan.json
  run_once: true
"""

RETURN = r"""
summary:
  description: The last line of the text.
  returned: always
  type: str
  sample: "Plan: 3 to create, 1 to change (1 live), 0 to remove; 0 interruptions"
counts:
  description: The same as numbers.
  returned: always
  type: dict
silent:
  description: Hosts that did not answer.
  returned: always
  type: list
  elements: str
"""
