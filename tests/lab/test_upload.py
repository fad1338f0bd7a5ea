# SPDX-License-Identifier: GPL-3.0-or-later
"""An image comes to a host through ssh, on a connection of its own, and goes on where the network left it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import faults
from namespaces.host import Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab
from namespaces.process import PATIENCE

ANSIBLE = TREE / ".venv" / "bin" / "ansible"
MIB = 2**20
THERE = "/var/lib/dos-vm/upload/image.raw"


class Sender:
    """Somebody who brings an image to the first host of a lab."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.source = lab, folder / "image.raw"
        self.source.write_bytes(os.urandom(400 * MIB))
        (folder / "hosts.yml").write_text(render(lab, 1))
        digest = hashlib.sha256(self.source.read_bytes()).hexdigest()
        asked = {"file": THERE, "format": "raw", "source": str(self.source), "checksum": f"sha256:{digest}"}
        self.digest = digest
        self.command = [
            str(ANSIBLE),
            "-i",
            str(folder / "hosts.yml"),
            "h1",
            "-m",
            "dos.vm.image",
            "-a",
            json.dumps(asked),
        ]

    def begin(self, *more: str) -> subprocess.Popen[str]:
        """A run that nobody waits for yet."""
        return subprocess.Popen(
            [*self.command, *more], cwd=TREE, preexec_fn=self.lab.enter_control,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def send(self, *more: str) -> tuple[dict[str, Any], str]:
        """The answer of the module, and all that was shown."""
        with self.begin(*more) as running:
            said, _ = running.communicate(timeout=PATIENCE)
        assert running.returncode == 0, said[-3000:]
        return json.loads("{" + said.partition("=> {")[2].partition("\n}")[0] + "}"), said


@pytest.fixture
def sender(lab: Lab, hosts: dict[str, Host], tmp_path: Path) -> Iterator[Sender]:
    made = Sender(lab, tmp_path)
    yield made
    hosts["h1"].run("rm", "-rf", str(Path(THERE).parent))
    made.source.unlink()


def arrived(host: Host) -> int:
    """Bytes of the file that is not an image yet."""
    told = host.run("sh", "-c", f"stat -c %s {Path(THERE).parent}/.[!.]* 2>/dev/null", check=False).stdout
    return max((int(size) for size in told.split()), default=0)


def test_what_the_network_cut_off_is_not_sent_again(sender: Sender, hosts: dict[str, Host]) -> None:
    """LIMIT-17."""
    host = hosts["h1"]
    with sender.begin() as running:
        deadline = time.monotonic() + PATIENCE
        while arrived(host) < 64 * MIB:
            assert running.poll() is None, running.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        faults.cut(host)
        said, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode != 0
    assert "UNREACHABLE" in said or "sending stopped at" in said, said
    assert host.run("test", "-e", THERE, check=False).returncode != 0, "half an image is none"
    faults.heal(host)

    told, said = sender.send("-vvv")
    assert told["resumed_at"] >= 32 * MIB
    assert told["sent"] == 400 * MIB - told["resumed_at"]
    assert host.run("sha256sum", THERE).stdout.split()[0] == sender.digest

    # What carries it is another connection than the one that modules take, and does not compress.
    compressed: dict[str, set[bool]] = {}
    carrying = set()
    for line in re.findall(r"SSH: EXEC (.*)", said):
        path = re.search(r'ControlPath="([^"]+)"', line)
        assert path is not None, line
        compressed.setdefault(path[1], set()).add(" -C " in line)
        if "dd of=" in line:
            carrying.add(path[1])
    (own,) = carrying
    assert compressed.pop(own) == {False}
    assert list(compressed.values()) == [{True}]
