# SPDX-License-Identifier: GPL-3.0-or-later
"""The role dos.vm.hypervisor with leases for disks: two hosts without them, made so, and the same disk on both."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import locks
from namespaces.group import name_of_mine
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

LEASES = "/srv/shared/leases"
DISK = "/srv/unlocked/one.raw"
GUEST = f"""<domain type='qemu'><name>guest</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><source file='{DISK}'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>"""


class Roles:
    """The role, applied over ssh to two hosts at once; the numbers of both are in their host_vars."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self._folder = lab, folder
        self.first, self.second = lab.hosts()
        (folder / "hosts.yml").write_text(render(lab, 2))
        (folder / "host_vars").mkdir()

    def number(self, **numbers: int) -> None:
        """What hosts have in their host_vars; a host that is not named has no number."""
        for host in (self.first, self.second):
            given = {"hypervisor_sanlock_host_id": numbers[host.name]} if host.name in numbers else {}
            (self._folder / "host_vars" / f"{host.name}.json").write_text(json.dumps(given))

    def play(self, **variables: Any) -> subprocess.CompletedProcess[str]:
        extra = {
            "hypervisor_enforce_minimum": False, "hypervisor_lock_manager": "sanlock", "hypervisor_sanlock_watchdog": False,
            "hypervisor_sanlock_directory": LEASES, "hypervisor_sanlock_io_timeout": 1, **variables,
        }  # fmt: skip
        command = [".venv/bin/ansible-playbook", "-i", str(self._folder), "dos.vm.hypervisor", "-e", json.dumps(extra)]
        return self._lab.ctl(*command, cwd=TREE)

    def apply(self) -> list[int]:
        """How many tasks changed something on each host."""
        ended = self.play()
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return [int(each) for each in re.findall(r"^h\d .* changed=(\d+)", ended.stdout, re.MULTILINE)]

    def refuse(self, **variables: Any) -> str:
        """What a play says that must fail, on one line."""
        ended = self.play(**variables)
        assert ended.returncode, ended.stdout
        return " ".join(ended.stdout.split())


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    if reasons := locks.missing("sanlock"):
        pytest.skip("; ".join(reasons))
    lab = Lab(name_of_mine("u"))
    try:
        lab.up(2)
        yield Roles(lab, tmp_path_factory.mktemp("roles"))
    finally:
        lab.down()


def test_a_host_without_a_number_of_its_own_is_refused(roles: Roles) -> None:
    roles.number()
    assert "write hypervisor_sanlock_host_id, 1 to 2000, into its host_vars" in roles.refuse()
    assert roles.second.run("systemctl", "is-active", "sanlock", check=False).stdout == "inactive\n"


def test_a_number_that_two_hosts_have_is_refused(roles: Roles) -> None:
    roles.number(h1=7, h2=7)
    said = roles.refuse()
    assert "hypervisor_sanlock_host_id 7 is also that of h2" in said
    assert "hypervisor_sanlock_host_id 7 is also that of h1" in said


def test_a_host_that_nobody_would_reset_is_refused(roles: Roles) -> None:
    roles.number(h1=1, h2=2)
    if roles.first.run("test", "-e", "/dev/watchdog", check=False).returncode == 0:
        pytest.skip("a host of this lab has a watchdog")
    assert "there is no /dev/watchdog" in roles.refuse(hypervisor_sanlock_watchdog=True)


def test_two_hosts_have_leases_and_one_of_them_the_disk(roles: Roles) -> None:
    roles.number(h1=1, h2=2)
    assert all(changed > 0 for changed in roles.apply())
    assert roles.apply() == [0, 0]
    for number, host in enumerate((roles.first, roles.second), 1):
        # The same file, without the locks that QEMU would see: what refuses the second is the lease.
        host.run("sh", "-ec", "mkdir -p /srv/shared/disks /srv/unlocked; bindfs /srv/shared/disks /srv/unlocked")
        host.run("sh", "-ec", f"truncate -s 1M {DISK}; cat > /tmp/guest.xml <<'E'\n{GUEST}\nE")
        assert f"s __LIBVIRT__DISKS__:{number}:" in host.run("sh", "-c", "virsh list; sanlock client status").stdout
    roles.first.run("virsh", "create", "/tmp/guest.xml")
    refused = roles.second.run("virsh", "create", "/tmp/guest.xml", check=False)
    assert "Failed to acquire lock: Lease is held by another host" in refused.stderr
    assert roles.apply() == [0, 0]
    roles.first.run("virsh", "destroy", "guest")
    roles.second.run("virsh", "create", "/tmp/guest.xml")


def test_sanlock_that_holds_leases_is_not_restarted_and_that_is_told(roles: Roles) -> None:
    pid = roles.second.run("systemctl", "show", "--property=MainPID", "--value", "sanlock").stdout
    dropin = "/etc/systemd/system/sanlock.service.d/50-dos-vm.conf"
    roles.second.run("sh", "-ec", f"sed -i 's/ -w 0//' {dropin}; systemctl daemon-reload")
    ended = roles.play()
    assert ended.returncode == 0, ended.stdout
    assert "sanlock holds leases and goes on as it was started" in " ".join(ended.stdout.split())
    assert roles.second.run("systemctl", "show", "--property=MainPID", "--value", "sanlock").stdout == pid
    assert roles.second.run("virsh", "list", "--name").stdout.split() == ["guest"]
    assert roles.apply() == [0, 0]
