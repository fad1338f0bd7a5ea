# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, network, metadata, a password and files in a machine's own disk before it starts: read back, and by a guest that boots."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guests
import pytest
from operators import Operator

from dosvm.apply import Outcome, converge
from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.slice import Permission
from dosvm.site.load import load
from tests.real.appliance import environment, system

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 ann@example"
SECRETS = {"root": b"pa55-word", "token": b"t0ken-value"}
MOTD = 'Hello from $(the site) "and" `others`\n'


class Site:
    """A site of one host, whose machines start from images in a folder that QEMU can read."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
        self._hypervisor, self.prefix, self.folder = hypervisor, prefix, folder
        self.instances: dict[str, Any] = {}

    def converge(self) -> Outcome:
        name = self.prefix
        declared = {
            "dos_site": "test",
            "dos_projects": {"p": {}},
            "dos_secrets": {f"{name}-{key}": {"value": "elsewhere"} for key in SECRETS},
            "dos_pools": {name: {"path": str(self.folder / "pool")}},
            "dos_images": {
                f"{name}-{key}": {"file": str(self.folder / f"{key}.img"), "format": form}
                for key, form in (("debian", "raw"), ("busybox", "qcow2"))
            },
            "dos_subnets": {
                name: {
                    "address": "10.99.7.0/24",
                    "gateway": "10.99.7.1",
                    "pool": [{"start": "10.99.7.10", "end": "10.99.7.20"}],
                }
            },
            "dos_networks": {name: {"type": "isolated", "subnet": name, "bridge": f"{name}b"}},
            "dos_instances": self.instances,
        }
        site = load(declared, hosts=["here"])
        slice_ = compile_site(site, {"here": HostState(facts=self._hypervisor.facts())}, now=time.time()).slices["here"]
        values = {f"{name}-{key}": value for key, value in SECRETS.items()}
        return converge(slice_, self._hypervisor, permission=Permission(), secrets=values)

    def read(self, machine: str, *paths: str) -> str:
        """The files of an ext4 disk as debugfs reads them, which is none of libguestfs."""
        raw = self.folder / "read.raw"
        disk = self.folder / "pool" / f"{machine}-vda"
        subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
        script = "\n".join(f"cat {path}\nstat {path}" for path in paths)
        return subprocess.run(
            ["debugfs", "-f", "-", raw], input=script, capture_output=True, text=True, check=True
        ).stdout


@pytest.fixture
def site(hypervisor: LibvirtHypervisor, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    folder = Path("/var/lib/dos-vm") / f"inject-{prefix}"
    folder.mkdir(parents=True)
    system(tmp_path).rename(tmp_path / "debian.img")
    shutil.copy(tmp_path / "debian.img", folder / "debian.img")
    shutil.copy(guests.image(), folder / "busybox.img")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    yield Site(hypervisor, prefix, folder)
    shutil.rmtree(folder)


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What guestfish was called with: a program of that name which notes it and goes on as the real one."""
    noted, program = tmp_path / "arguments", tmp_path / "bin" / "guestfish"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >>{noted}\nexec {shutil.which("guestfish")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    return noted


def machine(site: Site, image: str, **seed: Any) -> dict[str, Any]:
    disk = {"image": f"{site.prefix}-{image}", "pool": site.prefix}
    return {
        "project": "p",
        "memory": "96 MiB",
        "stop_timeout": 0,
        "disks": [disk],
        "seed": {"type": "injected", **seed},
    }


def test_a_disk_has_what_is_declared_before_its_first_start_and_never_again(site: Site, arguments: Path) -> None:
    """INJ-03, INJ-06, INJ-07, INJ-09, INJ-10."""
    name = f"{site.prefix}-set"
    site.instances[name] = {
        **machine(
            site,
            "debian",
            public_keys={"ann": KEY},
            password=f"{site.prefix}-root",
            network="static",
            metadata={"role": "web"},
            files={"/etc/motd": MOTD, "/etc/app/token": f"token=${{secret:{site.prefix}-token}}\n"},
            append={"/etc/fstab": "/dev/vdb /data ext4 defaults 0 2\n"},
        ),
        "interfaces": [{"network": site.prefix}],
        "vms": {name: {"power": "off", "ip": {site.prefix: "10.99.7.11"}}},
    }
    began = time.monotonic()
    done = site.converge()
    print(f"injected in {time.monotonic() - began:.1f} s")
    assert done.failures == ()
    assert done.unanswered == ()
    assert f"domain {name} has been set up on its disk" in done.performed
    paths = [
        "/etc/motd",
        "/etc/app/token",
        "/etc/fstab",
        "/root/.ssh/authorized_keys",
        "/etc/network/interfaces",
        "/meta.js",
    ]
    told = site.read(name, *paths, "/etc/shadow")
    assert MOTD in told
    assert "token=t0ken-value\n" in told
    assert "/dev/sda / ext4 defaults 0 1\n/dev/vdb /data ext4 defaults 0 2\n" in told
    assert f"{KEY}\n" in told
    assert "iface eth0 inet static\n    address 10.99.7.11\n" in told
    assert '"role": "web"' in told
    (salted,) = re.findall(r"^root:(\$6\$[^:$]+\$)", told, re.MULTILINE)
    assert salted
    assert "pa55-word" not in told
    modes = re.findall(r"Mode:\s+(\d+)", told)
    assert modes == ["0644", "0644", "0644", "0600", "0744", "0644", modes[-1]]
    assert "t0ken" not in str(done) + arguments.read_text()
    assert "pa55" not in str(done) + arguments.read_text()
    assert "t0ken" not in (site.folder / "debian.img").read_bytes().decode("latin-1"), "the image is nobody's to write"

    assert site.converge().performed == (), "what is set up is left alone"
    subprocess.run(["virsh", "undefine", name], check=True, capture_output=True)
    site.instances[name]["seed"]["files"]["/etc/motd"] = "Later\n"
    again = site.converge()
    assert again.failures == ()
    assert MOTD in site.read(name, "/etc/motd"), "the disk itself says that it was set up"


def test_a_file_that_cannot_be_written_keeps_the_machine_from_being_made(site: Site) -> None:
    """INJ-04, and INJ-08: the disk is let go of, or the next run could not open it."""
    name = f"{site.prefix}-bad"
    site.instances[name] = {
        **machine(site, "debian", files={"/etc/hostname/below/a/file": "x"}, public_keys={"ann": KEY}),
        "vms": {name: {"power": "off"}},
    }
    done = site.converge()
    ((what, why),) = done.failures
    assert (what, "mkdir" in why) == (f"domain {name}", True), why
    assert subprocess.run(["virsh", "dominfo", name], capture_output=True, check=False).returncode != 0
    site.instances[name]["seed"]["files"] = {"/etc/motd": MOTD}
    assert site.converge().failures == (), "the next run goes on"
    assert MOTD in site.read(name, "/etc/motd")


def test_a_guest_boots_from_the_disk_and_has_it(site: Site) -> None:
    """INJ-02 without partitions, INJ-04 for what is no file, INJ-10."""
    name = f"{site.prefix}-up"
    site.instances[name] = {
        **machine(site, "busybox", partition=0, files={"/note.txt": MOTD}, password=f"{site.prefix}-root"),
        "serial": {},
        "vms": {name: {}},
    }
    done = site.converge()
    assert done.failures == ()
    ((_, why),) = done.unanswered
    assert "there is no root in /etc/shadow" in why, "no password could be set, and that is told"
    assert (site.folder / "busybox.img").read_bytes() == guests.image().read_bytes(), "the image is nobody's to write"
    with guests.Shell.of(name) as shell:
        shell.becomes_true("test -b /dev/vda")
        assert shell.says_yes("mkdir -p /disk && mount -t vfat /dev/vda /disk")
        assert "Hello from $(the site)" in shell.run("cat /disk/note.txt")


def test_somebody_who_watches_is_told_before_a_disk_is_written_into(
    prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What comes then takes a minute; here guestfish ends at once."""
    program, folder = tmp_path / "bin" / "guestfish", Path("/var/lib/dos-vm") / f"watched-{prefix}"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    folder.mkdir(parents=True)
    disk = {"pool": prefix, "capacity": "8 MiB"}
    seed = {"type": "injected", "partition": 0, "files": {"/note.txt": MOTD}}
    instance = {"project": "p", "memory": "16 MiB", "disks": [disk], "seed": seed, "vms": {prefix: {}}}
    declared = {
        "dos_site": "test",
        "dos_projects": {"p": {}},
        "dos_pools": {prefix: {"path": str(folder / "pool")}},
        "dos_instances": {prefix: instance},
    }
    try:
        told = Operator(folder, declared).play("site", succeeds=False)
    finally:
        shutil.rmtree(folder)
    (line,) = [line for line in told.splitlines() if " to go" in line]
    assert (
        f"last: volume {prefix}/{prefix}-vda has been created; now: domain {prefix} will be set up on its disk" in line
    )
    assert "guestfish ended without a word" in told
