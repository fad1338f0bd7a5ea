# Copyright: (c) 2026, dos.vm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: argon2
short_description: Make the hash of a password for dos_users
version_added: "0.1.0"
description:
  - Makes the argon2id hash of a password, as C(dos_users) wants it, with a salt of its own. Each call gives another; make one,
    and keep it.
  - Passwords that everybody tries, and short ones, are refused.
author:
  - dos.vm contributors (@dos-vm)
options:
  _input:
    description: The password.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what to write into dos_users
  ansible.builtin.debug:
    msg: "{{ dos_password | dos.vm.argon2 }}"
"""

RETURN = r"""
_value:
  description: The hash, in the PHC string format.
  type: str
"""

from collections.abc import Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.dos.vm.plugins.plugin_utils.password import hashed


def argon2(password: str) -> str:
    """The hash of a password."""
    try:
        return hashed(password)
    except ValueError as refused:
        raise AnsibleFilterError(str(refused)) from None


class FilterModule:
    """The filter `dos.vm.argon2`."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"argon2": argon2}
