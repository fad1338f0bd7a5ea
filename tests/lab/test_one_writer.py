# SPDX-License-Identifier: GPL-3.0-or-later
"""One shared file under two names, on two hosts: refused where the names show it, and reported where a link hid it."""

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
FOLDER = "/srv/shared/ow"
# A domain that a person starts. The lab's shared directory keeps QEMU's locks, which many a network file system does not: it has none.
BY_HAND = """
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os>
  <devices>
    <disk type='file'><driver name='qemu' type='raw'/><source file='{file}'><seclabel model='dac' relabel='no'/></source>
      <target dev='vda' bus='virtio'/></disk>
  </devices>
  <qemu:override><qemu:device alias='virtio-disk0'><qemu:frontend><qemu:property name='share-rw' type='bool' value='true'/>
  </qemu:frontend></qemu:device></qemu:override>
</domain>
"""
IMAGE: dict[str, Any] = {"format": "raw", "read_only": False, "shared": True}
EMPTY: dict[str, Any] = {"project": "p", "memory": "16 MiB", "stop_timeout": 0}
SITE: dict[str, Any] = {
    "dos_site": "ow",
    "dos_projects": {"p": {}},
    "dos_images": {"one": {"file": f"{FOLDER}/one.raw", **IMAGE}, "two": {"file": f"{FOLDER}/one.raw", **IMAGE}},
    "dos_instances": {
        "first": {**EMPTY, "disks": [{"image": "one"}], "vms": {"ow-1": {"host": "h1"}}},
        "second": {**EMPTY, "disks": [{"image": "two"}], "vms": {"ow-2": {"host": "h2"}}},
    },
}


class Site:
    """The site of this file on the hosts of a lab."""

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
    hosts["h1"].run("mkdir", "-p", FOLDER)
    hosts["h1"].run("truncate", "-s", "1M", f"{FOLDER}/one.raw")
    hosts["h1"].run("chmod", "666", f"{FOLDER}/one.raw")
    hosts["h1"].run("ln", "-s", f"{FOLDER}/one.raw", f"{FOLDER}/two.raw")
    made = Site(lab, tmp_path)
    yield made
    for name, host in (("by-hand-1", "h1"), ("by-hand-2", "h2")):
        hosts[host].run("virsh", "-q", "destroy", name, check=False)
    hosts["h1"].run("rm", "-r", FOLDER)


def test_a_shared_file_has_one_writer_or_the_run_fails(site: Site, hosts: dict[str, Host]) -> None:
    """VM-08, VOL-10, IMG-05."""
    output = site.play("site", succeeds=False)
    assert (
        f"image one and image two are one thing, file {FOLDER}/one.raw, and it is written by both ow-1 and ow-2"
        in output
    )
    site.declared["dos_images"]["two"]["file"] = f"{FOLDER}/two.raw"
    site.declared["dos_instances"] = {}
    for name, host, file in (("by-hand-1", "h1", "one"), ("by-hand-2", "h2", "two")):
        xml = BY_HAND.format(name=name, file=f"{FOLDER}/{file}.raw")
        hosts[host].run("sh", "-c", 'echo "$0" > /root/by-hand.xml && virsh -q create /root/by-hand.xml', xml)
    for playbook in ("plan", "site"):
        output = site.play(playbook, succeeds=False)
        found = (
            f"by-hand-1 on h1 AND by-hand-2 on h2 WRITE ONE DISK, file {FOLDER}/one.raw: stop one of them now (VM-08)"
        )
        assert output.count(found) > 1, "shown, and what the run fails with"
    hosts["h2"].run("virsh", "-q", "destroy", "by-hand-2")
    site.play("plan")
