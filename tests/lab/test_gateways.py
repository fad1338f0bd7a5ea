# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway of a bridged network: a real guest gets its address, name and visitors through it, and it moves under the guest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces.host import Host
from namespaces.lab import Lab
from test_bridges import Declared, plug, unplug

PATIENCE = 120.0
OFFICE: dict[str, Any] = {
    "dos_site": "gateways",
    "dos_projects": {"p": {}},
    "dos_pools": {"gw-local": {"path": "/var/lib/dos-vm/gateways-test"}},
    "dos_images": {"busybox": {"file": "/srv/shared/images/busybox.qcow2", "format": "qcow2", "shared": True}},
    "dos_subnets": {
        "office": {
            "address": "10.70.0.0/24",
            "gateway": "10.70.0.1",
            "pool": [{"start": "10.70.0.100", "end": "10.70.0.199"}],
            "dhcp": {},
            "dns": {
                "domain": "office.example",
                "txt": [{"name": "note.office.example", "value": "hello, you"}],
                "srv": [
                    {"service": "http", "protocol": "tcp", "domain": "office.example", "target": "web", "port": 80}
                ],
                "hosts": [{"ip": "10.70.0.9", "names": ["printer"]}],
            },
            "automatic_gateway": {
                "forwards": [{"to": "10.70.0.11", "protocol": "tcp", "port": 8080, "to_port": 80}],
                "start": "echo $DOS_NETWORK $DOS_BRIDGE $DOS_ADDRESSES >/run/started",
                "stop": "rm /run/started",
            },
        }
    },
    "dos_networks": {
        "office": {
            "type": "bridge",
            "bridge": "linux-office",
            "forward_interface": "eth1",
            "stp": False,
            "subnet": "office",
            "hosts": ["h1", "h2"],
        }
    },
    "dos_instances": {
        "web": {
            "project": "p",
            "memory": "96 MiB",
            "stop_timeout": 0,
            "disks": [{"image": "busybox", "pool": "gw-local"}],
            "interfaces": [{"network": "office", "boot_rom": False}],
            "vms": {"web": {"host": "h2", "ip": {"office": "10.70.0.11"}}},
        }
    },
}


@pytest.fixture(scope="module")
def site(lab: Lab, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Declared]:
    made = Declared(lab, tmp_path_factory.mktemp("gateways"))
    made.declare(OFFICE)
    made.done("dos.vm.site")
    yield made
    made.declare({"dos_site": "gateways"})
    gone = {"data_loss": ["volume gw-local/web-vda"]}
    made.done("dos.vm.site", {"dos_prune": True, "dos_allow": ["restart", gone]})
    for host in lab.hosts():
        assert not host.run("sh", "-c", "ls /etc/dos-vm/*; ls /run/dos-vm/gateways; true").stdout.split()[1:]
        assert "dos_gw" not in host.run("nft", "list", "tables").stdout


def until(true: Callable[[], bool], what: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)


def has_it(host: Host) -> bool:
    return "10.70.0.1/24" in host.run("ip", "-4", "-o", "address", "show", "dev", "linux-office").stdout


def visited(lab: Lab, host: Host) -> bool:
    """Whether the guest's page is at the host's own address, as somebody outside sees it."""
    got = lab.ctl("curl", "--silent", "--max-time", "3", f"http://{host.address}:8080/")
    return "<h1>web</h1>" in got.stdout


def asked(host: Host, *what: str) -> str:
    """What the gateway's name service answers; nslookup of busybox is what every host has."""
    return host.run("busybox", "nslookup", *what, "10.70.0.1", check=False).stdout


def test_a_guest_gets_address_name_and_visitors(site: Declared, hosts: dict[str, Host], lab: Lab) -> None:
    assert [has_it(hosts[name]) for name in ("h1", "h2")] == [False, True]
    assert hosts["h2"].run("cat", "/run/started").stdout == "office linux-office 10.70.0.1/24\n"
    log = "/var/log/libvirt/qemu/web-serial.log"
    until(lambda: visited(lab, hosts["h2"]), lambda: hosts["h2"].run("sh", "-c", f"cat {log}; virsh list").stdout)
    assert "10.70.0.11" in asked(hosts["h2"], "web.office.example")
    assert "10.70.0.9" in asked(hosts["h2"], "printer.office.example")
    assert "hello, you" in asked(hosts["h2"], "-type=txt", "note.office.example")
    assert "web" in asked(hosts["h2"], "-type=srv", "_http._tcp.office.example")


def test_a_move_takes_everything_along_and_the_guest_stays(site: Declared, hosts: dict[str, Host], lab: Lab) -> None:
    """GW-02, GW-03, GW-05: the old host stops while the new one waits for that, in one run."""
    site.done("dos.vm.gateway", {"dos_gateway_hosts": {"office": "h1"}})
    assert [has_it(hosts[name]) for name in ("h1", "h2")] == [True, False]
    assert hosts["h1"].run("cat", "/run/started").stdout
    assert hosts["h2"].run("test", "-e", "/run/started", check=False).returncode == 1
    assert not hosts["h2"].run("sh", "-c", "ls /run/dos-vm/gateways").stdout
    until(lambda: visited(lab, hosts["h1"]))
    assert not visited(lab, hosts["h2"])
    told = site.done("dos.vm.site")  # and there it stays
    assert "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions\n" in told
    plug(hosts["h2"], "end", "10.70.0.50/24", "ip link set enda master linux-office")
    try:
        lease = hosts["h2"].run(
            "ip", "netns", "exec", "end", "busybox", "udhcpc", "-i", "endb", "-n", "-q", "-s", "/bin/true", check=False
        )
        assert "lease of 10.70.0.1" in lease.stdout + lease.stderr
    finally:
        unplug(hosts["h2"], "end")


def test_a_gateway_that_died_is_put_up_again(site: Declared, hosts: dict[str, Host], lab: Lab) -> None:
    hosts["h1"].run("sh", "-c", "kill $(cat /run/dos-vm/gateways/office.pid)")
    assert "gateway office" in site.done("dos.vm.site")
    assert "10.70.0.9" in asked(hosts["h1"], "printer.office.example")
