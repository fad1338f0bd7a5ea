# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory has a bound after its templates are done as well as before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader


class Templar:
    """Ansible's, for one variable that is a template of many values, aliases of one another."""

    def template(self, value: Any) -> Any:
        if value != "{{ many }}":
            return value
        many: Any = ["x"] * 10
        for _ in range(8):
            many = [many] * 10
        return {"v": many}


def test_a_template_that_stands_for_too_many_values_is_refused() -> None:
    variables = {"inventory_hostname": "h1", "dos_volumes": "{{ many }}"}
    with pytest.raises(DeclarationError, match=r"dos_volumes: stands for .* values .* write at most 2,000,000"):
        SiteReader(Templar(), variables).declared()
