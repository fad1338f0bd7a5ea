# SPDX-License-Identifier: GPL-3.0-or-later
"""A host gets no certificate for what the inventory has for another one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.dos.vm.plugins.action.certificates import _names_of_others
from ansible_collections.dos.vm.plugins.module_utils.pki.certificate import names_of

H2: dict[str, Any] = {
    "ansible_host": "h2.management.example",
    "dos_address": "h2.tunnel.example",
    "tls_address": "h2.migration.example",
    "tls_names": ["h2.dc.example", "10.9.9.2"],
}
VARIABLES = {"inventory_hostname": "h1", "groups": {"dos_hosts": ["h1", "h2"]}, "hostvars": {"h1": {}, "h2": H2}}
NAMES = ["h2", "H2.Management.example.", "h2.tunnel.example", "h2.migration.example", "h2.dc.example", "10.9.9.2"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_host_calls_itself_is_not_another_hosts(name: str) -> None:
    assert names_of(["h1"], [name], _names_of_others(VARIABLES)) == {"h1"}
