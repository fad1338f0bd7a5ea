# SPDX-License-Identifier: GPL-3.0-or-later
"""A site of two hosts, one of which answers what a test wants: a broken hypervisor, as its controller sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dosvm.model.decode import encode
from dosvm.model.host import HostFacts
from dosvm.model.types import ByteSize

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# `ansible_python_interpreter` of the host: whatever module it is sent, it prints the prepared answer.
INTERPRETER = """\
#!/bin/sh
cat >/dev/null
cat {answer}
"""


def facts(name: str, **changed: Any) -> dict[str, Any]:
    """What an honest host without any objects answers about itself."""
    told = HostFacts(
        hostname=name,
        uuid="00000000-0000-4000-8000-000000000001",
        identity=name,
        arch="x86_64",
        cpus=8,
        memory=ByteSize("8 GiB"),
        free_memory=ByteSize("8 GiB"),
        available_memory=ByteSize("8 GiB"),
        kvm=False,
        libvirt=9000000,
        hypervisor=7002000,
        emulators={"x86_64": "/usr/bin/qemu-system-x86_64"},
    )
    lists = ("domains", "pools", "networks", "gateways", "volumes", "nwfilters", "secrets", "ours", "unmanaged")
    return {"changed": False, "facts": {**encode(told), **changed}, **{name: [] for name in lists}}


@dataclass(slots=True)
class LyingSite:
    """`h1` answers from a file. `h2` runs the modules on libvirt's test driver, so that no real object is touched."""

    folder: Path
    site: dict[str, Any] = field(
        default_factory=lambda: {"dos_site": "lies", "dos_store": "none", "dos_uri": "test:///default"}
    )

    def answer(self, host: str, answer: Any) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (self.folder / f"{host}.json").write_text(text)

    def write(self) -> None:
        hosts = {}
        for name in ("h1", "h2"):
            hosts[name] = {"ansible_connection": "local", "ansible_python_interpreter": self._interpreter(name)}
        inventory = self.folder / "inventory"
        (inventory / "group_vars" / "all").mkdir(parents=True, exist_ok=True)
        (inventory / "hosts.yml").write_text(json.dumps({"all": {"children": {"dos_hosts": {"hosts": hosts}}}}))
        (inventory / "group_vars" / "all" / "site.yml").write_text(json.dumps(self.site))

    def _interpreter(self, name: str) -> str:
        if name == "h2":
            return sys.executable
        file, answer = self.folder / f"{name}-python", self.folder / f"{name}.json"
        file.write_text(INTERPRETER.format(answer=answer))
        file.chmod(0o755)
        if not answer.exists():
            self.answer(name, facts(name))
        return str(file)

    def play(
        self, name: str, *more: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        self.write()
        return subprocess.run(
            [BIN / "ansible-playbook", "-i", self.folder / "inventory", name, *more],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_HOME": str(self.folder / "home"), **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
