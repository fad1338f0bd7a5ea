# SPDX-License-Identifier: GPL-3.0-or-later
"""A short way in to a console: the password ends by itself, the tunnel leads there, and nothing of it is left."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import libvirt
import pytest
import vnc
import yaml
from guests import PATIENCE, said, wait_for

from dosvm.apply import converge
from dosvm.compile.visit import commands
from dosvm.errors import ConflictError
from dosvm.hypervisor.consoles import Console, visit
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.console import Visit
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.xml.build import parse

pytestmark = pytest.mark.libvirt

DECLARED = "declared"
ROOT = Path(__file__).parents[2]


def new_password() -> str:
    return secrets.token_hex(4)


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Machine:
    """One that runs and shows its firmware's screen."""

    def __init__(self, hypervisor: LibvirtHypervisor, name: str) -> None:
        self.hypervisor, self.name = hypervisor, name

    def declare(self, **more: Any) -> None:
        graphics = {"type": "vnc", "password": f"{self.name}-pw"}
        domain = {
            "name": self.name,
            "mark": {"site": "test"},
            "virt_type": "qemu",
            "memory": "32 MiB",
            "stop_timeout": 0,
            "graphics": [graphics],
            **more,
        }
        held = decode(Slice, {"site": "test", "secrets": [{"name": f"{self.name}-pw"}], "domains": [domain]})
        converge(held, self.hypervisor, permission=Permission(), secrets={f"{self.name}-pw": DECLARED.encode()})

    def asks(self, order: str = "open", *, dry_run: bool = False, **more: Any) -> Console:
        asked = decode(Visit, {"vm": self.name, "order": order, "site": "test", **more})
        return visit(asked, self.hypervisor, dry_run=dry_run, now=time.time())

    def graphics(self, flags: int = 0) -> Any:
        domain = self.hypervisor._connection.lookupByName(self.name)
        return parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | flags)).find("devices/graphics")


@pytest.fixture
def machine(hypervisor: LibvirtHypervisor, prefix: str) -> Machine:
    return Machine(hypervisor, prefix)


def test_a_password_lets_in_for_its_time_and_no_longer(machine: Machine) -> None:
    """GFX-T1.4, GFX-T1.5, VM-27."""
    machine.declare()
    password = new_password()
    console = machine.asks(password=password, seconds=15)
    assert (console.type, console.address, console.done) == ("vnc", "127.0.0.1", "has been given a password")
    assert vnc.enters("127.0.0.1", console.port, password)
    assert not vnc.enters("127.0.0.1", console.port, DECLARED)
    assert machine.graphics(libvirt.VIR_DOMAIN_XML_INACTIVE).get("passwd") == DECLARED
    wait_for("the end of its time", lambda: not vnc.enters("127.0.0.1", console.port, password))


def test_closing_brings_the_declared_password_back(machine: Machine) -> None:
    machine.declare()
    password = new_password()
    console = machine.asks(password=password, seconds=600)
    assert machine.asks("close", dry_run=True).done
    assert vnc.enters("127.0.0.1", console.port, password)
    assert machine.asks("close").done == "has its declared password again"
    assert not vnc.enters("127.0.0.1", console.port, password)
    assert vnc.enters("127.0.0.1", console.port, DECLARED)
    assert machine.asks("close").note == "has its declared password"


def test_the_next_run_of_the_site_closes_it_too(machine: Machine) -> None:
    machine.declare()
    password = new_password()
    console = machine.asks(password=password, seconds=600)
    machine.declare()
    assert vnc.enters("127.0.0.1", console.port, DECLARED)
    assert not vnc.enters("127.0.0.1", console.port, password)


def test_what_cannot_be_visited_says_why(machine: Machine) -> None:
    machine.declare(graphics=[])
    assert machine.asks(password="x").note == "has no remote console, only its serial one"
    with pytest.raises(ConflictError, match="is of site test, and this call is for site other: set site: test"):
        machine.asks(password="x", site="other")
    machine.declare(graphics=[], active=False)
    with pytest.raises(ConflictError, match="is shut off: only what runs has a console"):
        machine.asks(password="x")


@contextmanager
def sshd(folder: Path) -> Iterator[list[str]]:
    """An ssh server of this test's own; the words of ssh that lead to it."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    options = {
        "HostKey": folder / "host", "AuthorizedKeysFile": folder / "authorized", "StrictModes": "no", "UsePAM": "no",
        "ListenAddress": "127.0.0.1", "PidFile": "none", "PermitRootLogin": "yes",
    }  # fmt: skip
    said = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-p", str(port), *said])
    try:
        wait_for("the ssh server", lambda: _listens(port))
        trust = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known", "-o", "LogLevel=ERROR"]
        yield ["ssh", "-p", str(port), "-i", str(folder / "user"), *trust, "root@127.0.0.1"]
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _listens(port: int) -> bool:
    with socket.socket() as held:
        return held.connect_ex(("127.0.0.1", port)) == 0


def test_the_tunnel_leads_to_the_console_and_ends(machine: Machine, tmp_path: Path) -> None:
    machine.declare()
    password = new_password()
    console = machine.asks(password=password, seconds=60)
    with sshd(tmp_path) as ssh:
        where = {"type": console.type, "address": console.address, "port": console.port}
        local = free_port()
        way = commands(where, vm=machine.name, uri="qemu:///system", seconds=10, local=local, ssh=ssh)
        assert way["viewer"] == f"vncviewer 127.0.0.1::{local}"
        subprocess.run(
            shlex.split(way["tunnel"]),
            check=True,
            timeout=PATIENCE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert vnc.enters("127.0.0.1", local, password)
        wait_for("the end of the tunnel", lambda: not _listens(local))


def test_the_serial_console_is_reached_by_the_command(machine: Machine, tmp_path: Path) -> None:
    machine.declare(bios_serial=True)
    with sshd(tmp_path) as ssh:
        way = commands({"port": 0}, vm=machine.name, uri="qemu:///system", seconds=5, local=0, ssh=ssh)
        words = shlex.split(way["serial"])
        # `-t` twice: the test has no terminal of its own.
        log = tmp_path / "console"
        with (
            log.open("wb") as out,
            subprocess.Popen([words[0], "-t", *words[1:]], stdin=subprocess.PIPE, stdout=out) as held,
        ):

            def left() -> bool:
                """Virsh tells how to leave, and forgets what was typed before it listens."""
                with suppress(BrokenPipeError):  # it has left
                    os.write(held.stdin.fileno(), b"\x1d")
                return held.poll() is not None

            try:
                said(log, "Escape character")
                wait_for("the end of the console", left)
            finally:
                held.kill()
        told = log.read_bytes()
    assert f"Connected to domain '{machine.name}'".encode() in told


def test_the_playbook_keeps_the_password_to_itself(machine: Machine, tmp_path: Path) -> None:
    machine.declare()
    here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    site = {
        "dos_site": "test",
        "dos_projects": {"demo": None},
        "dos_instances": {"a": {"project": "demo", "memory": "32 MiB", "vms": {machine.name: {}}}},
    }
    inventory = {"all": {"vars": site, "children": {"dos_hosts": {"hosts": {"here": here}}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    file = tmp_path / "password"
    play = [
        Path(sys.executable).with_name("ansible-playbook"), "-vvv", "-i", tmp_path / "hosts.yml", "dos.vm.console", "-e",
        f"dos_vms={machine.name} dos_password_file={file} dos_seconds=600",
    ]  # fmt: skip

    def run(*more: str) -> str:
        done = subprocess.run(
            [*play, *more], cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    shown = run()
    password = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert password not in shown
    port = int(machine.graphics().get("port"))
    assert f"viewer:  vncviewer 127.0.0.1::{port}" in shown
    assert vnc.enters("127.0.0.1", port, password)
    run("-e", "dos_order=close")
    assert not file.exists()
    assert vnc.enters("127.0.0.1", port, DECLARED)


# Each row: what the first client asks for and what the second, and who sees the screen in the end. GFX-T1.7's words are RFC 6143's.
SHARING = {
    # The last to ask has its way, but nobody shares what somebody has alone.
    None: (("share", "share", "both"), ("share", "alone", "second"), ("alone", "share", "first"), ("alone", "alone", "second")),
    "allow-exclusive": (("share", "share", "both"), ("share", "alone", "second"), ("alone", "share", "first")),
    "force-shared": (("share", "share", "both"), ("share", "alone", "first"), ("alone", "share", "second")),
    "ignore": (("share", "alone", "both"), ("alone", "alone", "both"), ("alone", "share", "both")),
}  # fmt: skip


SEEN = {"both": [True, True], "first": [True, False], "second": [False, True]}


def look(port: int, asked: str) -> vnc.Viewer | None:
    """A client, or nobody where it is refused."""
    with suppress(OSError):
        return vnc.Viewer("127.0.0.1", port, shared=asked == "share")
    return None


@pytest.mark.parametrize("policy", SHARING)
def test_who_may_look_beside_others(machine: Machine, policy: str | None) -> None:
    """GFX-02, GFX-T1.7, VM-27: what two clients get of a console that is shared by each policy."""
    machine.declare(graphics=[{"share_policy": policy}])
    port = int(machine.graphics().get("port"))
    for first, second, expected in SHARING[policy]:
        viewers = [look(port, asked) for asked in (first, second)]
        seen = [viewer is not None and viewer.sees() for viewer in viewers]
        for viewer in filter(None, viewers):
            viewer.close()
        assert seen == SEEN[expected], f"{policy}: {first}, then {second}"
