# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume goes from a VM on one host to a VM on another: never both at once, and with dos_prune in one run."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces.host import Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

PLAYBOOK = TREE / ".venv" / "bin" / "ansible-playbook"
FOLDER = "/srv/shared/ho"
WRITER: dict[str, Any] = {"project": "p", "memory": "16 MiB", "stop_timeout": 0, "disks": [{"volume": "ho-data"}]}
SITE: dict[str, Any] = {
    "dos_site": "ho",
    "dos_projects": {"p": {}},
    "dos_pools": {"ho-common": {"path": FOLDER, "shared": True}},
    "dos_volumes": {"ho-data": {"pool": "ho-common", "capacity": "1 MiB"}},
    "dos_instances": {"old": {**WRITER, "vms": {"ho-old": {"host": "h1"}}}},
}


class Site:
    """The site of this file on two hosts of a lab."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self.folder = lab, folder
        (folder / "group_vars" / "all").mkdir(parents=True)
        (folder / "hosts.yml").write_text(render(lab, 2))
        self.declared = deepcopy(SITE)

    def play(self, name: str, *arguments: str, succeeds: bool = True) -> str:
        (self.folder / "group_vars" / "all" / "site.yml").write_text(yaml.safe_dump(self.declared))
        done = self._lab.ctl(str(PLAYBOOK), "-i", str(self.folder), f"dos.vm.{name}", *arguments, cwd=TREE)
        assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def site(lab: Lab, hosts: dict[str, Host], tmp_path: Path) -> Iterator[Site]:
    held = Site(lab, tmp_path)
    yield held
    held.play("destroy", "-e", "dos_confirm=ho", "-e", '{"dos_allow": [{"data_loss": ["volume ho-common/ho-data"]}]}')
    hosts["h1"].run("rm", "-rf", FOLDER)


def test_a_vm_that_replaces_one_on_another_host_starts_after_it(site: Site, hosts: dict[str, Host]) -> None:
    """VM-08, law 8: the lab's shared directory keeps QEMU's locks, and nothing here leans on them."""

    def states() -> list[str]:
        asked = (("h1", "ho-old"), ("h2", "ho-new"))
        return [hosts[host].run("virsh", "domstate", vm, check=False).stdout.strip() for host, vm in asked]

    site.play("site")
    site.declared["dos_instances"] = {"new": {**WRITER, "vms": {"ho-new": {"host": "h2"}}}}
    told = site.play("site")
    assert "ho-new is not started: volume ho-data is still used by VM ho-old, which runs on h1" in told
    assert states() == ["running", "shut off"]

    told = site.play("plan", "-e", "dos_prune=true")
    assert "ho-new is started after ho-old on h1, which must be off" in told
    site.play("site", "-e", "dos_prune=true")
    assert states() == ["", "running"]
