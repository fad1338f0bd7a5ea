# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups on guests that run: what their rules let through, what they do not, and what a change does to both.

Two guests on one network; one listens on ports 80 and 81. The other's shell, on its serial port, is the client.
"""

from __future__ import annotations

import ipaddress
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from dosvm.apply import converge
from dosvm.compile.predefined import FILTERS
from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.nwfilter import Nwfilter
from dosvm.model.slice import Permission
from dosvm.site.load import load
from dosvm.xml import nwfilter as nwfilter_xml
from dosvm.xml.normalize import normalize

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "guest"
NET = ipaddress.ip_network("192.168.234.0/24")
GATEWAY, CLIENT, SERVER, FORGED = (str(NET[at]) for at in (1, 11, 12, 77))
PATIENCE = 90.0  # seconds until a guest is up; ten on an idle machine
REFUSED = 4.0  # seconds after which nothing more comes


def wait_for(what: str, ask: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.2)


class Shell:
    """The shell that a guest has on its first serial port."""

    def __init__(self, path: str) -> None:
        self._port = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._port, termios.TCSANOW)

    def run(self, command: str, seconds: float = 30.0) -> str:
        """What a command printed; its end is a line of its own, so that the echo of what was typed does not count."""
        mark = f"end-{time.monotonic_ns()}"
        os.write(self._port, f"\n{command}; echo; echo {mark[:4]}''{mark[4:]}\n".encode())
        heard, deadline = "", time.monotonic() + seconds
        while f"\n{mark}" not in heard.replace("\r", ""):
            left = deadline - time.monotonic()
            assert left > 0, f"{command!r} did not end: {heard[-500:]}"
            if select.select([self._port], [], [], left)[0]:
                heard += os.read(self._port, 4096).decode(errors="replace")
        return heard

    def says_yes(self, command: str) -> bool:
        heard = self.run(f"{command} >/dev/null 2>&1; echo rc=$?").replace("\r", "")
        found = re.search(r"\nrc=(\d+)", heard)
        return found is not None and found[1] == "0"

    def close(self) -> None:
        os.close(self._port)


def reaches(address: str, port: int) -> bool:
    """Whether this machine, which is the gateway, gets a connection."""
    try:
        with socket.create_connection((address, port), timeout=REFUSED):
            return True
    except OSError:
        return False


class Cloud:
    """The site, converged as often as it changes."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
        self._hypervisor, self.prefix = hypervisor, prefix
        common = {
            "project": "p",
            "memory": "96 MiB",
            "kernel": str(folder / "vmlinuz"),
            "initrd": str(folder / "initrd"),
            "cmdline": (folder / "cmdline").read_text().strip(),
            "boot": ["network"],
        }

        def machine(name: str, group: str, address: str) -> dict[str, Any]:
            card = {"network": f"{prefix}lan", "security_group": f"{prefix}{group}", "ip": address, "boot_rom": False}
            return {**common, "interfaces": [card], "serial": {}, "vms": {f"{prefix}{name}": {}}}

        self.declared: dict[str, Any] = {
            "dos_site": "test",
            "dos_projects": {"p": {}},
            "dos_subnets": {f"{prefix}lan": {"address": str(NET), "gateway": GATEWAY, "dhcp": {}}},
            "dos_networks": {f"{prefix}lan": {"type": "nat", "subnet": f"{prefix}lan", "bridge": f"{prefix}br"}},
            "dos_security_groups": {
                f"{prefix}web": {"rules": [{"protocol": "tcp", "ports": [80], "groups": [f"{prefix}client"]}]},
                f"{prefix}client": {"rules": []},
            },
            "dos_instances": {
                "server": machine("server", "web", SERVER),
                "client": machine("client", "client", CLIENT),
            },
        }

    def converge(self, **changed: Any) -> list[str]:
        site = load({**self.declared, **changed}, hosts=["here"])
        states = {"here": HostState(facts=self._hypervisor.facts())}
        slice_ = compile_site(site, states, now=time.time()).slices["here"]
        outcome = converge(slice_, self._hypervisor, permission=Permission())
        assert not outcome.failures
        return [str(sentence) for sentence in outcome.performed]

    def with_rules(self, *rules: dict[str, Any]) -> dict[str, Any]:
        groups = deepcopy(self.declared["dos_security_groups"])
        groups[f"{self.prefix}web"]["rules"] = list(rules)
        return {"dos_security_groups": groups}

    def shell(self, name: str) -> Shell:
        xml = subprocess.run(["virsh", "dumpxml", f"{self.prefix}{name}"], capture_output=True, check=True).stdout
        return Shell(etree.fromstring(xml).find("devices/serial/source").get("path"))


@pytest.fixture
def folder(prefix: str) -> Iterator[Path]:
    """Kernel and initramfs of the guest, where QEMU may read them."""
    held = Path("/var/lib/dos-vm") / prefix
    held.mkdir(parents=True)
    image = [sys.executable, ROOT / "tools" / "guest_image.py", "--cache", CACHE, "--kernel-out", held]
    subprocess.run(image, check=True, stdout=subprocess.DEVNULL)
    for path in (held, *held.iterdir()):
        path.chmod(0o755)
    yield held
    shutil.rmtree(held)


def test_rules_do_what_they_say_on_running_guests(hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
    cloud = Cloud(hypervisor, prefix, folder)
    cloud.converge()
    assert cloud.converge() == []
    server, client = cloud.shell("server"), cloud.shell("client")
    try:
        # Both have leases: what a guest cannot do without is let through, though the client's group has no rule.
        wait_for("the client's lease", lambda: CLIENT in client.run("cat /run/leases/*"))
        wait_for("the server's lease", lambda: SERVER in server.run("cat /run/leases/*"))
        server.run("httpd -p 81 -h /www")
        assert client.says_yes(f"nc -w 4 {SERVER} 80 </dev/null"), "the rule that names the client's group"
        assert not client.says_yes(f"nc -w 4 {SERVER} 81 </dev/null")
        assert not reaches(SERVER, 80), "the gateway is not in the client's group"
        assert not reaches(CLIENT, 80), "no rule lets anybody in"

        # A rule more, on the running guest; what is connected meanwhile stays connected.
        anybody = {"protocol": "tcp", "ports": ["80-81"]}
        assert cloud.converge(**cloud.with_rules(anybody)) != []
        with (
            socket.create_connection((SERVER, 80), REFUSED) as held,
            socket.create_connection((SERVER, 81), REFUSED) as lost,
        ):
            assert cloud.converge(**cloud.with_rules({"protocol": "tcp", "ports": [80]})) != []
            held.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"<h1>" in held.makefile("rb").read(), "a connection that stays allowed was dropped"
            lost.settimeout(REFUSED)
            lost.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(TimeoutError):
                lost.recv(1)
        assert not reaches(SERVER, 81)
        assert reaches(SERVER, 80)

        # A forged address gets nowhere, even where everything may be sent.
        assert cloud.converge(**cloud.with_rules({})) != []
        assert client.says_yes(f"ping -c 1 -W 3 {SERVER}")
        client.run(f"ip addr add {FORGED}/24 dev eth0")
        assert not client.says_yes(f"ping -c 1 -W 3 -I {FORGED} {SERVER}")
        assert client.says_yes(f"ping -c 1 -W 3 -I {CLIENT} {SERVER}")
    finally:
        server.close()
        client.close()


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_libvirts_own_filters_say_what_we_think(hypervisor: LibvirtHypervisor, name: str) -> None:
    xml = subprocess.run(["virsh", "nwfilter-dumpxml", name], capture_output=True, check=True).stdout
    told = normalize(etree.fromstring(xml), nwfilter_xml.SHAPE)
    assert decode(Nwfilter, nwfilter_xml.parse(told)) == FILTERS[name]
