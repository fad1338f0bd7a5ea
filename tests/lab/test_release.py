# SPDX-License-Identifier: GPL-3.0-or-later
"""A person confirms that a host is dead: what that is refused for, what it frees, and what becomes of the host when it returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from namespaces.host import Host
from namespaces.lab import Lab
from test_store import UNREACHABLE, Controller

GATEWAY = "10.90.0.1"
SITE: dict[str, Any] = {
    "dos_site": "rel",
    "dos_projects": {"shop": {}},
    "dos_pools": {"rel": {"path": "/srv/shared/rel", "shared": True}},
    "dos_subnets": {"lan": {"address": "10.90.0.0/24", "gateway": GATEWAY, "dhcp": {}, "automatic_gateway": {}}},
    "dos_networks": {"lan": {"type": "bridge", "bridge": "br-rel", "vxlan": {"id": 190}, "subnet": "lan"}},
}
INSTANCE: dict[str, Any] = {
    "project": "shop",
    "memory": "16 MiB",
    "stop_timeout": 0,
    "disks": [{"pool": "rel", "capacity": "1 MiB"}],
    "interfaces": [{"network": "lan", "boot_rom": False}],
}


@pytest.fixture
def controller(lab: Lab, hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    made = Controller(lab, tmp_path_factory.mktemp("release"))
    made.whole = {**SITE, "dos_instances": {"rel": {**INSTANCE, "vms": {"rel-1": {}}}}}
    yield made
    lab.boot(*hosts)
    made.play("destroy", dos_confirm="rel", dos_allow=[{"data_loss": ["volume rel/rel-1-vda"]}])


def running(hosts: dict[str, Host]) -> dict[str, list[str]]:
    """By VM of the site, the hosts that it runs on."""
    found: dict[str, list[str]] = {}
    for name, host in hosts.items():
        for vm in host.run("virsh", "list", "--name").stdout.split() if host.pid() else ():
            found.setdefault(vm, []).append(name)
    return {vm: on for vm, on in found.items() if vm.startswith("rel-")}


def has_gateway(host: Host) -> bool:
    return GATEWAY in host.run("sh", "-c", "ip -o address show dev br-rel; true").stdout


def test_what_a_released_host_had_runs_on_another(controller: Controller, hosts: dict[str, Host], lab: Lab) -> None:
    """Its VM and its gateway; a host whose sshd alone is dead is not released."""
    controller.play("site")
    ((vm, (home,)),) = running(hosts).items()
    yes = {"dos_confirm": home, "dos_reason": "for the test"}
    hosts[home].run("systemctl", "stop", "ssh")
    refused = controller.play("release", 2, dos_release=home, ansible_ssh_args="-o ControlMaster=no", **yes)
    assert f"{hosts[home].address} answers ping" in " ".join(refused.split()), refused
    hosts[home].crash()
    assert f"released {home}: {vm}" in controller.play("release", dos_release=home, **yes)
    controller.play("site", UNREACHABLE)
    ((other,),) = running(hosts).values()
    assert other != home
    assert [name for name, host in hosts.items() if host.pid() and has_gateway(host)] == [other]


@pytest.mark.soak
def test_a_dead_host_is_released_and_starts_nothing_stale_when_it_returns(
    controller: Controller, hosts: dict[str, Host], lab: Lab
) -> None:
    controller.play("site")
    for host in hosts.values():  # libvirt may have read the disk while another host was making it
        host.run("virsh", "pool-refresh", "rel")
    ((vm, (home,)),) = running(hosts).items()
    assert [name for name, host in hosts.items() if has_gateway(host)] == [home]
    yes = {"dos_confirm": home, "dos_reason": "for the test"}

    # A host whose sshd alone is dead still runs its VMs.
    hosts[home].run("systemctl", "stop", "ssh")
    refused = controller.play("release", 2, dos_release=home, ansible_ssh_args="-o ControlMaster=no", **yes)
    assert f"{hosts[home].address} answers ping" in " ".join(refused.split()), refused
    controller.play("power", dos_order="stop", dos_vms=vm)
    hosts[home].crash()
    assert f"{vm} waits: it is on {home}" in controller.play("site", UNREACHABLE)
    assert f"released {home}: {vm}" in controller.play("release", dos_release=home, **yes)
    moved = controller.play("site", UNREACHABLE)
    alive = {name: host for name, host in hosts.items() if name != home}
    assert running(alive) == {}, "a person's stop was lost with the host"
    having = [name for name, host in alive.items() if vm in host.run("virsh", "list", "--all", "--name").stdout.split()]
    assert len(having) == 1, moved
    (other,) = having
    assert [name for name, host in alive.items() if has_gateway(host)] == [other], "the gateway did not follow"

    lab.boot(home)
    controller.play("site")
    assert running(hosts) == {}
    assert [name for name, host in hosts.items() if has_gateway(host)] == [other]
    # Both hosts have a definition. An operation goes to the one that the VM was placed on, and then to where it runs.
    controller.play("power", dos_order="start", dos_vms=vm)
    assert running(hosts) == {vm: [other]}
    controller.play("power", dos_order="stop", dos_vms=vm)
    assert running(hosts) == {}
    controller.play("power", dos_order="release", dos_vms=vm)
    controller.play("site")
    assert running(hosts) == {vm: [other]}
