# SPDX-License-Identifier: GPL-3.0-or-later
"""Two machines that move between the hosts of a lab, for the tests of migration and for its measurements."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from consoles import types
from namespaces.host import ENVIRONMENT, Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab
from namespaces.process import PATIENCE

BIN = TREE / ".venv" / "bin"
#: Answers of the module as JSON, whatever ansible.cfg wants to show people.
PLAIN = ["env", "ANSIBLE_CALLBACK_RESULT_FORMAT=json", "ANSIBLE_LOAD_CALLBACK_PLUGINS=1"]
BRIDGE = "br-wire"
ADDRESSES = {"m-seen": "10.9.0.1", "m-own": "10.9.0.2"}
MACS = {"m-seen": "52:54:00:0a:00:01", "m-own": "52:54:00:0a:00:02"}
WATCHER = "h3"  # where guests are looked at from; none ever is there
COUNTING = "(i=0; while :; do i=$((i+1)); echo $i >/www/n; usleep 50000; done)"
T = TypeVar("T")


def wait_for(what: str, ask: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:.0f} s"
        time.sleep(0.1)
    return answer


class Movers:
    """The two machines of the site in `moving/`, and how they are moved."""

    def __init__(self, lab: Lab, inventory: Path) -> None:
        self.lab, self.inventory = lab, inventory
        self.hosts = {host.name: host for host in lab.hosts()}

    def play(self, name: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        extra = ["-e", json.dumps(variables)]
        return self.lab.ctl(str(BIN / "ansible-playbook"), "-i", str(self.inventory), name, *extra, cwd=TREE)

    def done(self, name: str, **variables: Any) -> str:
        ended = self.play(name, **variables)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def home(self, vm: str) -> str:
        """The one host that runs it."""
        (found,) = self.running(vm)
        return found

    def running(self, vm: str) -> list[str]:
        return [name for name, host in self.hosts.items() if vm in self.domains(host)]

    def defined(self, vm: str) -> list[str]:
        return [name for name, host in self.hosts.items() if vm in self.domains(host, "--all")]

    @staticmethod
    def domains(host: Host, *which: str) -> list[str]:
        return host.run("virsh", "list", "--name", *which).stdout.split()

    def other(self, vm: str) -> str:
        return next(name for name in self.hosts if name not in (self.home(vm), WATCHER))

    def command(self, vm: str, *, check: bool = False, **options: Any) -> list[str]:
        here = options.pop("source", None) or self.home(vm)
        target = options.pop("target", None) or self.other(vm)
        words = {"domain": vm, "source": here, "target": target, "address": self.hosts[target].address, **options}
        flags = ["--check"] if check else []
        return [
            *PLAIN,
            str(BIN / "ansible"),
            "-i",
            str(self.inventory),
            here,
            "-m",
            "dos.vm.migrate",
            "-a",
            json.dumps(words),
            *flags,
        ]

    def answer(self, vm: str, **options: Any) -> dict[str, Any]:
        """What the module says, whether it succeeded or not."""
        return told(self.lab.ctl(*self.command(vm, **options), cwd=TREE).stdout)

    def move(self, vm: str, **options: Any) -> dict[str, Any]:
        before, target = self.home(vm), self.other(vm)
        answer = self.answer(vm, **options)
        assert not answer.get("failed"), answer
        assert f"domain {vm} has been moved from {before} to {target}" in answer["performed"]
        assert self.running(vm) == self.defined(vm) == [target]
        return answer

    def page(self, vm: str, name: str = "") -> str:
        """What the guest's web server says; nothing when it does not answer."""
        address = f"http://{ADDRESSES[vm]}/{name}"
        return self.hosts[WATCHER].run("curl", "-s", "--max-time", "2", address, check=False).stdout

    def count(self, vm: str) -> int | None:
        """How far the guest has counted since it booted; nothing when it does not answer."""
        asked = self.page(vm, "n").strip()
        return int(asked) if asked.isdigit() else None

    def let_count(self, vm: str) -> None:
        """Waits for its boot, and has it count."""
        wait_for(f"{vm} to boot", lambda: self.page(vm) or None)
        types(self.hosts[self.home(vm)], vm, COUNTING)
        self.counts_on(vm, 0)

    def counts_on(self, vm: str, before: int) -> None:
        """The same guest goes on: what it counts is in its memory alone."""
        wait_for(f"an answer of {vm}", lambda: ((now := self.count(vm)) is not None and now > before) or None)

    def cut_off(self, vm: str, **options: Any) -> str:
        """A move whose controller goes away when it has told how far it is; what it had said by then."""
        said = ""
        with subprocess.Popen(
            self.command(vm, **options), cwd=TREE, preexec_fn=self.lab.enter_control, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            for line in process.stdout or ():
                said += line
                if "to go, after" in line:
                    os.killpg(process.pid, signal.SIGKILL)
        return said

    def begin(self, vm: str, **options: Any) -> subprocess.Popen[str]:
        """A migration slow enough to do something to it, under way."""
        here = self.hosts[self.home(vm)]
        process = subprocess.Popen(
            self.command(vm, bandwidth=4, **options), cwd=TREE, preexec_fn=self.lab.enter_control,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

        def has_sent() -> bool | None:
            assert process.poll() is None, process.communicate()
            told = here.run("virsh", "domjobinfo", vm, check=False).stdout
            sent = re.search(r"Data processed:\s+([\d.]+) MiB", told)
            return (sent is not None and float(sent[1]) > 1) or None

        wait_for(f"a byte of {vm} to be sent", has_sent)
        return process


def told(output: str) -> dict[str, Any]:
    """The module's answer out of what `ansible` printed, which is JSON here."""
    return {"failed": "FAILED!" in output, **json.loads(output[output.rindex("=> {") + 3 :])}


class Ping:
    """Twenty times a second, from a host that has nothing to do with it. `longest` is the longest wait for an answer, in seconds."""

    longest = 0.0

    def __init__(self, host: Host, address: str) -> None:
        self._host = host
        self._process = subprocess.Popen(
            host.command("sh", "-c", f"echo $$ >/run/ping.pid; exec ping -D -i 0.05 -O {address}"), env=ENVIRONMENT, preexec_fn=host.join,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(self) -> tuple[int, list[int]]:
        """How many were sent, and which of them nobody answered."""
        self._host.run("sh", "-c", "kill -INT $(cat /run/ping.pid)")
        output = self._process.communicate(timeout=PATIENCE)[0]
        # An answer that comes late is none that is missing, so the gap is between answers, as a person at the guest feels it.
        seen = [float(moment) for moment in re.findall(r"^\[([\d.]+)\] .*bytes from", output, re.MULTILINE)]
        self.longest = max((after - before for before, after in pairwise(seen)), default=0.0)
        answered = {int(number) for number in re.findall(r"bytes from .* icmp_seq=(\d+)", output)}
        last = max(answered)
        return last, sorted(set(range(min(answered), last)) - answered)


WIRE = f"link add {BRIDGE} type bridge forward_delay 0\\nlink set {BRIDGE} up\\nlink set eth1 master {BRIDGE}\\nlink set eth1 up\\n"


def join_the_wire(host: Host) -> None:
    """A bridge with the data cable in it; a host that was switched off has lost it."""
    host.run("sh", "-c", f"printf '{WIRE}' | ip -batch -")
    host.run("sh", "-c", "virsh net-start wire", check=False)


@contextlib.contextmanager
def wired(lab: Lab) -> Iterator[None]:
    """All hosts on one wire; the watcher hands out addresses."""
    for host in lab.hosts():
        join_the_wire(host)
    watcher = lab.host(WATCHER)
    watcher.run("ip", "address", "add", "10.9.0.254/24", "dev", BRIDGE)
    fixed = [f"--dhcp-host={MACS[vm]},{address}" for vm, address in ADDRESSES.items()]
    only = [f"--interface={BRIDGE}", "--bind-interfaces", "--except-interface=lo", "--port=0"]
    lease = ["--dhcp-range=10.9.0.1,10.9.0.9,1h", "--pid-file=/run/wire.pid", "--leasefile-ro", "--dhcp-authoritative"]
    watcher.run("dnsmasq", *only, *lease, *fixed)
    try:
        yield
    finally:
        watcher.run("sh", "-c", "kill $(cat /run/wire.pid)", check=False)
        for host in lab.hosts():
            host.run("ip", "link", "delete", BRIDGE, check=False)


@contextlib.contextmanager
def moving(lab: Lab, inventory: Path) -> Iterator[Movers]:
    """Both machines run, and count. `inventory` is an empty folder."""
    shutil.copytree(Path(__file__).parent / "moving", inventory, dirs_exist_ok=True)
    (inventory / "hosts.yml").write_text(render(lab, 3))
    made = Movers(lab, inventory)
    try:
        made.done("dos.vm.site")
        for vm in ADDRESSES:
            made.let_count(vm)
        yield made
    finally:
        for host in lab.hosts():
            _clear(host)


def _clear(host: Host) -> None:
    """Nothing of the site is left, for others use the lab as well."""
    for vm in ADDRESSES:
        host.run("sh", "-c", f"virsh destroy {vm}; virsh undefine {vm}", check=False)
    for pool, folder in (("m-common", "/srv/shared/moving"), ("m-local", "/var/lib/dos-vm/moving")):
        host.run("sh", "-c", f"virsh pool-destroy {pool}; virsh pool-undefine {pool}; rm -rf {folder}", check=False)
    host.run(
        "sh",
        "-c",
        "virsh net-destroy wire; virsh net-undefine wire; rm -f /var/lib/dos-vm/maintenance.json",
        check=False,
    )
