# SPDX-License-Identifier: GPL-3.0-or-later
"""Where consoles listen and what keys they have: the machine's word, or the site's (DOMX-15)."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.compile.site import compile_site
from dosvm.compile.states import HostState
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.site.load import load

SITE = {"console_listen": "0.0.0.0", "console_keymap": "de"}


@pytest.mark.parametrize(
    ("system", "console", "expected"),
    [
        ({}, {}, (None, None)),  # 127.0.0.1, which the lens says
        (SITE, {}, ("0.0.0.0", "de")),
        (SITE, {"listen": "127.0.0.1", "keymap": "en-us"}, ("127.0.0.1", "en-us")),
        ({}, {"listen": "::1"}, ("::1", None)),
    ],
)
def test_a_machine_speaks_before_the_site(system: dict[str, Any], console: dict[str, Any], expected: Any) -> None:
    machine = {"project": "p", "memory": "64 MiB", "graphics": [console], "vms": {"m": {}}}
    site = {"dos_projects": {"p": {}}, "dos_system": system, "dos_instances": {"i": machine}}
    compiled = compile_site(load(site, hosts=("h1",)), {"h1": HostState(facts=FakeHypervisor().facts())}, now=0.0)
    (made,) = compiled.slices["h1"].domains[0].graphics
    assert (made.listen, made.keymap) == expected
