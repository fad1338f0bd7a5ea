# SPDX-License-Identifier: GPL-3.0-or-later
"""What `dos.vm.release` refuses and shows, by real plays over one host that answers and others that do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from dosvm.compile.memory import Placement
from dosvm.hypervisor.identity import identity
from dosvm.store.hosts import HostRecord
from dosvm.store.loads import Load
from dosvm.store.store import Store, open_store

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "dos_uri": "test:///default"}
NOWHERE = {"ansible_host": "127.0.0.1", "ansible_port": 1}  # where nothing listens
PING = "#!/bin/sh\ncase $* in *127.0.0.9) exit 0;; *) exit 1;; esac\n"
PLACED = {"web-1": "h2", "web-2": "h2", "db-1": "h3", "old-1": "h9"}


class Inventory:
    """Three hosts of which the first is this machine, and a store that knows them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/.dos-vm/dos.sqlite"
        self.hosts: dict[str, dict[str, Any]] = {"h1": HERE, "h2": NOWHERE, "h3": NOWHERE}

    def play(self, *arguments: str, status: int = 0, **variables: Any) -> str:
        """The release, run to its end; its output on one line, as the words of a failure are broken anywhere."""
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"dos_hosts": {"hosts": self.hosts}}))
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(
            [PLAYBOOK, "-i", self.folder, "dos.vm.release", "-e", json.dumps(variables), *arguments],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    def store(self) -> closing[Store]:
        return closing(open_store(self.url, site="dos"))

    def placements(self) -> dict[str, str | None]:
        with self.store() as store:
            return {vm: held.host for vm, held in store.placements.all().items()}


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    made = Inventory(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ping").write_text(PING)
    (tmp_path / "bin" / "ping").chmod(0o755)
    with made.store() as store:
        now = store.now()
        uuids = {"h1": identity(), "h2": "u2", "h3": "u3"}
        store.hosts.register(
            HostRecord(uuid=uuid, name=name, registered=1.0, answered=now, surveyed=now) for name, uuid in uuids.items()
        )
        store.placements.claim({}, [Placement(vm=vm, host=host, epoch=1) for vm, host in PLACED.items()], at=now)
        store.loads.sample([Load(host="h2", at=now, cpu=1, memory=1, boot="b2")], every=60)
    return made


def test_what_is_refused_is_refused_all_at_once_and_changes_nothing(inventory: Inventory) -> None:
    told = inventory.play(dos_release="h22,h1,h3", dos_confirm="h22,h1,h3", dos_reason="burnt", status=2)
    assert "no host 'h22', did you mean h2?" in told.replace("''", "'")
    assert "host h1 answers: it is not dead; dos.vm.drain empties a host that is alive" in told
    inventory.hosts["h2"] = {**NOWHERE, "ansible_host": "127.0.0.9"}
    told = inventory.play(dos_release="h2", dos_confirm="h2", dos_reason="burnt", status=2)
    assert "host h2 is unreachable for Ansible, but 127.0.0.9 answers ping" in told
    told = inventory.play("--limit", "h1", dos_release="h3", dos_confirm="h3", dos_reason="burnt", status=2)
    assert "host h3 was not asked, so it may answer" in told
    inventory.hosts |= {"h7": inventory.hosts.pop("h1")}
    told = inventory.play(dos_release="h1", dos_confirm="h1", dos_reason="burnt", status=2)
    assert "host h1 answers as h7: it is not dead" in told
    assert inventory.placements() == PLACED


def test_it_is_shown_first_and_done_when_the_host_is_named_again_with_a_reason(inventory: Inventory) -> None:
    told = inventory.play(dos_release="h2", dos_confirm="h3", status=2)
    assert "host h2: it last answered 0:0" in told
    assert "VMs placed on it: web-1, web-2" in told
    assert "(web-1, web-2 may then start elsewhere), confirm with -e dos_confirm=h2" in told
    assert "dos_reason: is not given" in told
    assert "would release h2: web-1, web-2" in inventory.play("--check", dos_release="h2")
    assert inventory.placements() == PLACED
    told = inventory.play(dos_release="h2", dos_confirm="h2", dos_reason="burnt", dos_actor="ada")
    assert "released h2: web-1, web-2" in told
    assert inventory.placements() == {**PLACED, "web-1": None, "web-2": None}
    with inventory.store() as store:
        (evidence,) = store.proofs.of("h2")
        assert (evidence.identity, evidence.boot, evidence.actor) == ("u2", "b2", "ada")
        assert evidence.detail == {"reason": "burnt", "vms": ["web-1", "web-2"]}
        assert store.memory().dead == {"h2"}


def test_a_host_that_left_the_inventory_and_one_whose_name_another_system_has_can_be_released(
    inventory: Inventory,
) -> None:
    with inventory.store() as store:
        store.hosts.forget([identity()])
        store.hosts.register([HostRecord(uuid="u1", name="h1", registered=1.0, answered=store.now())])
    told = inventory.play(dos_release=["h9", "h1"], dos_confirm=["h1", "h9"], dos_reason="installed anew")
    assert "released h9: old-1; h1: nothing" in told
    assert inventory.placements() == {**PLACED, "old-1": None}
    with inventory.store() as store:
        assert store.memory().dead == {"h1", "h9"}
