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

    # For modules that do something rather than declare something.
    DEED = r"""
options: {}
requirements:
  - libvirt-python (C(python3-libvirt)) and lxml (C(python3-lxml)) on the managed host
  - qemu-img (C(qemu-utils)) on the managed host; libguestfs (C(libguestfs-tools)) for what looks inside
  - Python 3.11 or newer on the managed host
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return the status prediction without changing anything.
  diff_mode:
    support: none
    description: The content of a disk is not shown.
  idempotent:
    support: partial
    description: When run twice in a row with the same arguments, the second run changes nothing.
    details:
      - What is there already is not made again. A disk that is replaced by itself, smaller or edited, is done anew each time.
"""
