# SPDX-License-Identifier: GPL-3.0-or-later
"""The role dos.vm.hypervisor on a host that is not as it should be. What it did is read from the host itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces.host import Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

PLAYBOOK = TREE / ".venv" / "bin" / "ansible-playbook"
SOCKETS = [
    *("libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket"),
    *("virtlogd.socket", "virtlogd-admin.socket", "virtlockd.socket", "virtlockd-admin.socket"),
]
FOLDERS = {"/var/lib/dos-vm": "711", "/var/lib/dos-vm/images": "711", "/var/log/dos-vm": "750"}
QEMU_CONF = "/etc/libvirt/qemu.conf"
GUESTS = "/etc/default/libvirt-guests"
PROXY = "/etc/systemd/system/libvirtd.service.d/proxy.conf"
GUEST = """<domain type='qemu'><name>guest</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>"""
#: A machine smaller than the one that runs this test may be.
TOO_SMALL = {"name": "CPU cores", "found": 2, "minimum": 4, "recommended": 12}
BIG_ENOUGH = {**TOO_SMALL, "found": 12}


class Role:
    """The role, applied over ssh to a host of its own."""

    def __init__(self, lab: Lab, inventory: Path) -> None:
        self._lab, self._inventory = lab, inventory
        (self.host,) = lab.hosts()

    def play(self, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        extra = json.dumps({"_hypervisor_gauge": [BIG_ENOUGH], **variables})
        command = [str(PLAYBOOK), "-i", str(self._inventory), "dos.vm.hypervisor", "-e", extra, *words]
        return self._lab.ctl(*command, cwd=TREE)

    def apply(self, *words: str, **variables: Any) -> tuple[int, str]:
        """How many tasks changed something, and what a play said that must succeed, on one line."""
        ended = self.play(*words, **variables)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        (changed,) = re.findall(r"^h1 .* changed=(\d+)", ended.stdout, re.MULTILINE)
        return int(changed), " ".join(ended.stdout.split())

    def refuse(self, **variables: Any) -> str:
        """What a play says that must fail, on one line."""
        ended = self.play(**variables)
        assert ended.returncode, ended.stdout
        return " ".join(ended.stdout.split())

    def reboot(self) -> None:
        self.host.run("sync")
        self.host.crash()
        self._lab.boot("h1")


def settings(host: Host, file: str = QEMU_CONF) -> list[str]:
    """The lines of a file of settings that say something."""
    return [line for line in host.run("cat", file).stdout.splitlines() if re.match(r"\s*\w", line)]


def states(host: Host, question: str, units: list[str]) -> set[str]:
    return set(host.run("systemctl", question, *units, check=False).stdout.split())


def main_pid(host: Host) -> str:
    return host.run("systemctl", "show", "--property=MainPID", "--value", "libvirtd.service").stdout.strip()


def environment(host: Host) -> str:
    """What libvirtd was started with, once it runs."""
    host.run("virsh", "uri")
    return host.run("cat", f"/proc/{main_pid(host)}/environ").stdout


def spoil(host: Host) -> None:
    """Breaks everything the role is to make whole; libvirtd runs on, deaf and with a proxy."""
    script = f"""
        printf 'group = "nogroup"\\n  group="root"\\ndynamic_ownership = 0\\n' >> {QEMU_CONF}
        printf 'ON_BOOT=start\\nON_SHUTDOWN=suspend\\n' >> {GUESTS}
        systemctl disable --quiet libvirt-guests.service
        mkdir -p {Path(PROXY).parent}
        printf '[Service]\\nEnvironment=http_proxy=http://192.0.2.1:3128\\n' > {PROXY}
        systemctl daemon-reload
        systemctl restart libvirtd.service
        systemctl disable --quiet libvirtd.service
        systemctl disable --quiet virtlockd.socket virtlockd-admin.socket
        systemctl stop libvirtd-ro.socket libvirtd-admin.socket libvirtd.socket
        systemctl mask --quiet libvirtd-ro.socket
        rm -rf /var/log/dos-vm
        mkdir -p /var/lib/dos-vm/images
        chmod 700 /var/lib/dos-vm/images
    """
    host.run("sh", "-ec", script)


@pytest.fixture(scope="module")
def role(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    """A host of its own, spoiled. The first test sees that it is."""
    lab = Lab(f"u{os.getpid()}")
    try:
        lab.up(1)
        inventory = tmp_path_factory.mktemp("role") / "hosts.yml"
        inventory.write_text(render(lab, 1))
        made = Role(lab, inventory)
        spoil(made.host)
        yield made
    finally:
        lab.down()


@pytest.fixture(scope="module")
def applied(role: Role) -> str:
    """The output of the first run that was let through."""
    changed, output = role.apply()
    assert changed
    return output


# A host that is refused stays as it is


def test_the_host_is_spoiled_to_begin_with(role: Role) -> None:
    assert states(role.host, "is-active", ["libvirtd.service"]) == {"active"}
    assert "active" not in states(role.host, "is-active", SOCKETS[:3])
    assert role.host.run("virsh", "uri", check=False).returncode
    assert "http_proxy" in role.host.run("cat", f"/proc/{main_pid(role.host)}/environ").stdout


def test_a_machine_below_the_minimum_is_refused_with_the_reason(role: Role) -> None:
    """DEP-01."""
    said = role.refuse(_hypervisor_gauge=[TOO_SMALL])
    assert "below the minimum of a host: 2 CPU cores (at least 4); hypervisor_enforce_minimum: false" in said
    assert role.host.run("test", "-e", "/var/log/dos-vm", check=False).returncode


def test_a_port_that_is_somebody_elses_is_refused_with_the_owner(role: Role) -> None:
    """LVD-10."""
    role.host.run("systemd-run", "--quiet", "--unit=squatter", "python3", "-m", "http.server", "16514")
    role.host.run("sh", "-ec", "until ss -Hltn | grep -q :16514; do sleep 0.1; done")
    try:
        pid = role.host.run("systemctl", "show", "--property=MainPID", "--value", "squatter").stdout.strip()
        assert f"port 16514 is taken by python3 (pid {pid}); move that program" in role.refuse()
        assert role.host.run("test", "-e", "/var/log/dos-vm", check=False).returncode
    finally:
        role.host.run("systemctl", "stop", "squatter")


def test_daemons_that_the_distribution_does_not_have_are_refused(role: Role) -> None:
    said = role.refuse(hypervisor_daemons="modular")
    assert "systemd knows no virtproxyd.socket" in said
    assert role.host.run("test", "-e", "/var/log/dos-vm", check=False).returncode


def test_check_mode_tells_and_does_not(role: Role) -> None:
    changed, _ = role.apply("--check")
    assert changed
    assert role.host.run("test", "-e", "/var/log/dos-vm", check=False).returncode
    assert "dynamic_ownership = 0" in settings(role.host)


# A host that was made so


def test_sockets_listen_and_daemons_are_enabled(role: Role, applied: str) -> None:
    """LVD-01, in the way of systems with sockets (LVD-06)."""
    assert states(role.host, "is-active", SOCKETS) == {"active"}
    assert states(role.host, "is-enabled", [*SOCKETS, "libvirtd.service"]) == {"enabled"}
    assert role.host.run("virsh", "uri").stdout.strip() == "qemu:///system"


def test_qemu_conf_says_only_what_differs_from_the_distribution(role: Role, applied: str) -> None:
    """LVD-07: the same on every host, for it is said in one place."""
    assert settings(role.host) == ['lock_manager = "lockd"']
    assert role.host.run("stat", "--format=%a", QEMU_CONF).stdout.strip() == "600"


def test_guests_end_with_their_host_as_declared_and_none_is_started_by_what_ran(role: Role, applied: str) -> None:
    assert states(role.host, "is-enabled", ["libvirt-guests.service"]) == {"enabled"}
    assert states(role.host, "is-active", ["libvirt-guests.service"]) == {"active"}
    assert settings(role.host, GUESTS) == []
    wanted = {"hypervisor_guests_on_shutdown": "suspend", "hypervisor_guests_shutdown_timeout": 120}
    role.apply(**wanted)
    assert settings(role.host, GUESTS) == ['ON_SHUTDOWN="suspend"', "SHUTDOWN_TIMEOUT=120"]
    assert role.apply(**wanted)[0] == 0
    said = role.refuse(hypervisor_guests_shutdown_timeout=0)
    assert "hypervisor_guests_shutdown_timeout is 0" in said
    assert "set the first to 1 or more seconds" in said
    role.apply()


def test_directories_are_there_with_their_modes(role: Role, applied: str) -> None:
    told = role.host.run("stat", "--format=%n %a %U %G", *FOLDERS).stdout.splitlines()
    assert told == [f"{path} {mode} root root" for path, mode in FOLDERS.items()]


def test_the_daemon_is_kept_from_the_proxy_and_the_operator_told(role: Role, applied: str) -> None:
    """LVD-09."""
    assert "libvirtd.service has been kept from http_proxy" in applied
    assert role.host.run("cat", PROXY).returncode == 0
    assert "_proxy=" not in environment(role.host)


def test_a_proxy_is_let_through_and_told_where_it_is_wanted(role: Role, applied: str) -> None:
    role.apply(hypervisor_clear_proxies=False)
    assert "http_proxy=" in environment(role.host)
    changed, output = role.apply(hypervisor_clear_proxies=False)
    assert changed == 0
    assert "libvirtd.service sees http_proxy" in output
    role.apply()
    assert "_proxy=" not in environment(role.host)


def test_whether_guests_run_with_kvm_is_told(applied: str) -> None:
    assert re.search(r"guests run with(out)? KVM", applied)


def test_the_disk_of_a_running_guest_is_locked(role: Role, applied: str) -> None:
    """By virtlockd: QEMU's own locks are on other bytes."""
    disk = "/var/lib/dos-vm/images/one.raw"

    def lock() -> str:
        script = f"import fcntl; fcntl.lockf(open('{disk}', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB, 1)"
        return role.host.run("/usr/bin/python3", "-c", script, check=False).stderr

    role.host.run("truncate", "--size=1M", disk)
    role.host.run("sh", "-c", f"cat > /tmp/guest.xml <<'E'\n{GUEST.format(disk=disk)}\nE")
    assert lock() == ""
    role.host.run("virsh", "create", "/tmp/guest.xml")
    try:
        assert "BlockingIOError" in lock()
        assert role.apply()[0] == 0
        assert role.host.run("virsh", "list", "--name").stdout.split() == ["guest"]
    finally:
        role.host.run("virsh", "destroy", "guest")


def test_guests_run_through_a_change_and_those_without_locks_are_named(role: Role, applied: str) -> None:
    role.apply(hypervisor_lock_manager="none")
    role.host.run("virsh", "create", "/tmp/guest.xml")
    try:
        _, output = role.apply()
        assert "have locks once they start again: guest" in output
        assert role.host.run("virsh", "list", "--name").stdout.split() == ["guest"]
    finally:
        role.host.run("virsh", "destroy", "guest")


def test_a_second_run_changes_nothing(role: Role, applied: str) -> None:
    changed, output = role.apply()
    assert changed == 0
    assert "kept from" not in output


def test_it_holds_after_a_reboot(role: Role, applied: str) -> None:
    role.reboot()
    assert states(role.host, "is-active", SOCKETS) == {"active"}
    assert "_proxy=" not in environment(role.host)
    changed, _ = role.apply()
    assert changed == 0


def test_a_setting_is_written_when_asked_for_and_gone_when_not(role: Role, applied: str) -> None:
    role.apply(hypervisor_dynamic_ownership=False, hypervisor_qemu_group="kvm")
    assert set(settings(role.host)) == {'group = "kvm"', "dynamic_ownership = 0", 'lock_manager = "lockd"'}
    role.apply()
    assert settings(role.host) == ['lock_manager = "lockd"']


def test_a_restart_that_an_interrupted_run_did_not_come_to_is_made_up_for(role: Role, applied: str) -> None:
    """LVD-04."""
    environment(role.host)
    before = main_pid(role.host)
    role.host.run("touch", QEMU_CONF)
    changed, _ = role.apply()
    assert changed
    assert main_pid(role.host) != before
    assert role.apply()[0] == 0


def test_a_missing_package_is_installed(role: Role, applied: str) -> None:
    """DEP-03. From a repository on the host's own disk: that shows the way without a network."""
    control = "Package: lab-proof\nVersion: 1\nArchitecture: all\nMaintainer: lab\nDescription: proof\n"
    script = f"""
        mkdir -p /tmp/proof/DEBIAN /srv/repository
        printf '{control.encode("unicode_escape").decode()}' > /tmp/proof/DEBIAN/control
        dpkg-deb --build /tmp/proof /srv/repository/proof.deb
        rm -rf /etc/apt/sources.list /etc/apt/sources.list.d
        echo 'deb [trusted=yes] file:/srv/repository ./' > /etc/apt/sources.list
    """
    role.host.run("sh", "-ec", script)
    package = Path(role.host.folder, "upper", "srv", "repository", "proof.deb")
    content = package.read_bytes()
    row = f"{control}Filename: ./proof.deb\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    package.with_name("Packages").write_text(row)

    changed, output = role.apply("--check", hypervisor_packages_extra=["lab-proof"])
    assert changed == 1
    assert "to be installed: lab-proof" in output
    assert role.host.run("dpkg", "--status", "lab-proof", check=False).returncode
    changed, _ = role.apply(hypervisor_packages_extra=["lab-proof"])
    assert changed == 1
    assert "install ok installed" in role.host.run("dpkg", "--status", "lab-proof").stdout
    assert role.apply(hypervisor_packages_extra=["lab-proof"])[0] == 0
