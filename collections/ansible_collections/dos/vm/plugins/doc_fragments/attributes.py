# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection promises."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
requirements:
  - libvirt-python (C(python3-libvirt)) and lxml (C(python3-lxml)) on the managed host
  - Python 3.11 or newer on the managed host
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return the status prediction without changing anything.
    details:
      - The prediction is the plan that the real run performs.
  diff_mode:
    support: full
    description: Returns what has changed, or would change in C(check_mode), when in diff mode.
    details:
      - Definitions as libvirt holds them, secrets hidden.
  idempotent:
    support: full
    description: When run twice in a row with the same arguments, the second run changes nothing.
"""

    # For modules that only look.
    INFO = r"""
options: {}
requirements:
  - libvirt-python (C(python3-libvirt)) and lxml (C(python3-lxml)) on the managed host
  - Python 3.11 or newer on the managed host
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode); nothing is ever changed.
  diff_mode:
    support: N/A
    description: Nothing is ever changed.
  idempotent:
    support: full
    description: When run twice in a row with the same arguments, the second run changes nothing.
"""
