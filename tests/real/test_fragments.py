# SPDX-License-Identifier: GPL-3.0-or-later
"""A pasted dumpxml in `xml:` touches no VM that is not ours, on this machine's libvirt (CUST-02, law 4)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from operators import Operator

UUID = "b0600000-0000-4000-8000-00000000f0f0"
FOREIGN = f"""<domain type='qemu'><name>fg-foreign</name><uuid>{UUID}</uuid><memory unit='MiB'>16</memory>
<os><type arch='x86_64'>hvm</type></os></domain>"""


def virsh(*words: str, text: str | None = None) -> str:
    done = subprocess.run(["virsh", *words], input=text, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def foreign() -> Iterator[str]:
    """A VM that is not ours, as libvirt has it."""
    virsh("define", "/dev/stdin", text=FOREIGN)
    yield virsh("dumpxml", "fg-foreign")
    virsh("undefine", "fg-foreign")


def test_a_pasted_definition_changes_and_removes_no_foreign_vm(foreign: str, tmp_path: Path) -> None:
    vm = {"project": "fg", "memory": "32 MiB", "xml": [foreign], "vms": {"fg-1": {}}}
    operator = Operator(tmp_path, {"dos_site": "fg", "dos_projects": {"fg": {}}, "dos_instances": {"fg": vm}})
    shown = operator.play("site", "-e", "dos_adopt=true", succeeds=False)
    for element in ("name", "uuid", "memory", "vcpu"):
        assert f"dos_instances.fg.xml[0]: sets <{element}>" in shown
    assert "site.yml:" in shown
    assert operator.state("fg-1") == "none"
    vm["xml"] = ["<domain><iothreads>1</iothreads></domain>"]
    operator.play("site")
    vm["xml"] = [foreign]
    operator.play("destroy", "-e", "dos_confirm=fg")
    assert operator.state("fg-1") == "none"
    assert virsh("dumpxml", "fg-foreign") == foreign
