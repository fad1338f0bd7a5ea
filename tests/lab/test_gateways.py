# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway of a bridged network: a real guest gets its addresses, name and visitors through it, and it moves under the guest.

The network has both families. The guest has DHCP for IPv4, and makes its IPv6 address of what the gateway announces; who asks
for one by DHCPv6 is a name space, since the guest's busybox cannot.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces.host import Host
from namespaces.lab import Lab
from namespaces.process import PATIENCE
from test_bridges import Declared, plug, unplug

MAC, SIX = (
    "52:54:00:70:00:0b",
    "fd00:70::5054:ff:fe70:b",
)  # of the guest; its kernel makes the one of the other (EUI-64)
SPARE_MAC, SPARE = "52:54:00:71:00:0c", "fd00:71::c"  # of a machine that is off: a name space takes its place
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
        },
        "office6": {
            "address": "fd00:70::/64",
            "gateway": "fd00:70::1",
            "automatic_gateway": {"forwards": [{"to": SIX, "protocol": "tcp", "port": 8080, "to_port": 80}]},
        },
        "asked6": {
            "address": "fd00:71::/64",
            "gateway": "fd00:71::1",
            "pool": [{"start": "fd00:71::1000", "end": "fd00:71::1fff"}],
            "dhcp": {"allocate": False},
            "automatic_gateway": {"forward": "route", "host": "h2"},
        },
    },
    "dos_networks": {
        "office": {
            "type": "bridge",
            "bridge": "linux-office",
            "forward_interface": "eth1",
            "stp": False,
            "subnet": "office",
            "subnet6": "office6",
            "hosts": ["h1", "h2"],
        },
        "asked": {"type": "bridge", "bridge": "linux-asked", "vxlan": {"id": 171}, "stp": False, "subnet": "asked6"},
    },
    "dos_assertions": {
        "router": {"from": "web", "to": "10.70.0.1"},
        "names": {"from": "web", "to": "10.70.0.1", "port": 53},
        "router6": {"from": "web", "to": "fd00:70::1"},
    },
    "dos_instances": {
        "web": {
            "project": "p",
            "memory": "96 MiB",
            "stop_timeout": 0,
            "disks": [{"image": "busybox", "pool": "gw-local"}],
            "interfaces": [{"network": "office", "mac": MAC, "boot_rom": False}],
            "vms": {"web": {"host": "h2", "ip": {"office": "10.70.0.11"}, "ip6": {"office": SIX}}},
        },
        "spare": {
            "project": "p",
            "memory": "64 MiB",
            "interfaces": [{"network": "asked", "mac": SPARE_MAC}],
            "vms": {"spare": {"host": "h2", "power": "off", "ip6": {"asked": SPARE}}},
        },
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


@contextlib.contextmanager
def end(host: Host, address: str, *steps: str, bridge: str = "linux-office") -> Iterator[None]:
    """Somebody plugged into a bridge of a host: a name space."""
    plug(host, "end", address, *steps, f"ip link set enda master {bridge}")
    try:
        yield
    finally:
        unplug(host, "end")


def inside(host: Host, *command: str) -> str:
    """What a command says there, whether it succeeds or not."""
    done = host.run("ip", "netns", "exec", "end", *command, check=False)
    return done.stdout + done.stderr


def has_it(host: Host) -> bool:
    """Whether the gateway is here: both its addresses, never one."""
    carried = host.run("ip", "-o", "address", "show", "dev", "linux-office").stdout
    both = [address in carried for address in ("10.70.0.1/24", "fd00:70::1/64")]
    assert len(set(both)) == 1, carried
    return both[0]


def visited(lab: Lab, host: Host) -> bool:
    """Whether the guest's page is at the host's own address, as somebody outside sees it."""
    got = lab.ctl("curl", "--silent", "--max-time", "3", f"http://{host.address}:8080/")
    return "<h1>web</h1>" in got.stdout


def serves(host: Host, address: str) -> bool:
    """Whether the guest's page is at an address, seen from a host."""
    got = host.run("curl", "--silent", "--max-time", "3", f"http://{address}/", check=False)
    return "<h1>web</h1>" in got.stdout


def asked(host: Host, *what: str) -> str:
    """What the gateway's name service answers; nslookup of busybox is what every host has."""
    return host.run("busybox", "nslookup", *what, "10.70.0.1", check=False).stdout


def test_a_guest_gets_address_name_and_visitors(site: Declared, hosts: dict[str, Host], lab: Lab) -> None:
    """SUBN-12, SUBN-13, GW-01, GW-04: who comes from elsewhere is answered, so the guest's default route is the gateway."""
    assert [has_it(hosts[name]) for name in ("h1", "h2")] == [False, True]
    assert hosts["h2"].run("cat", "/run/started").stdout == "office linux-office 10.70.0.1/24 fd00:70::1/64\n"
    log = "/var/log/libvirt/qemu/web-serial.log"
    until(lambda: visited(lab, hosts["h2"]), lambda: hosts["h2"].run("sh", "-c", f"cat {log}; virsh list").stdout)
    assert "10.70.0.11" in asked(hosts["h2"], "web.office.example")
    assert "10.70.0.9" in asked(hosts["h2"], "printer.office.example")
    assert "hello, you" in asked(hosts["h2"], "-type=txt", "note.office.example")
    assert "web" in asked(hosts["h2"], "-type=srv", "_http._tcp.office.example")


def test_the_guest_has_both_families(site: Declared, hosts: dict[str, Host], lab: Lab) -> None:
    """GW-06, LIMIT-18: one gateway, an address of each family; IPv6 is announced, named and let in as IPv4 is."""
    until(lambda: serves(hosts["h2"], f"[{SIX}]"), lambda: hosts["h2"].run("ip", "-6", "neighbour").stdout)
    assert SIX in asked(hosts["h2"], "-type=aaaa", "web.office.example")
    with end(hosts["h1"], "10.70.0.51/24"):  # at the other end of the cable
        until(lambda: "default via fe80::" in inside(hosts["h1"], "ip", "-6", "route"))
        until(lambda: " 0% packet loss" in inside(hosts["h1"], "ping", "-6", "-c1", "-W2", "fd00:70::1"))
        until(lambda: " 0% packet loss" in inside(hosts["h1"], "ping", "-6", "-c1", "-W2", SIX))


def test_who_asks_by_dhcpv6_is_answered(site: Declared, hosts: dict[str, Host]) -> None:
    """SUBN-T1.8 over IPv6: a machine has its own address, by its MAC; a stranger has one of the pool."""
    for mac, given in ((SPARE_MAC, [SPARE]), ("52:54:00:71:00:99", ["fd00:71::1"])):
        with end(hosts["h2"], "10.71.0.9/24", f"ip -n end link set endb address {mac}", bridge="linux-asked"):
            until(lambda: "tentative" not in inside(hosts["h2"], "ip", "-6", "-o", "address", "show", "dev", "endb"))
            until(lambda: "fe80" in inside(hosts["h2"], "ip", "-6", "-o", "address", "show", "dev", "endb"))
            own = ("-lf", "/run/end.leases", "-pf", "/run/end.pid", "-sf", "/bin/true", "-cf", "/dev/null")
            # By a DUID of its MAC (DUID-LL), which is new for each.
            inside(hosts["h2"], "dhclient", "-6", "-1", "-D", "LL", *own, "endb")
            inside(hosts["h2"], "dhclient", "-6", "-x", *own, "endb")
            leases = hosts["h2"].run("sh", "-c", "cat /run/end.leases; rm /run/end.leases").stdout
            assert f"iaaddr {given[0]}" in leases, leases
            assert (f"iaaddr {SPARE} {{" in leases) == (mac == SPARE_MAC)


def test_a_move_takes_everything_along_and_the_guest_stays(site: Declared, hosts: dict[str, Host], lab: Lab) -> None:
    """GW-02, GW-03, GW-05: the old host stops while the new one waits for that, in one run."""
    site.done("dos.vm.gateway", {"dos_gateway_hosts": {"office": "h1"}})
    assert [has_it(hosts[name]) for name in ("h1", "h2")] == [True, False]
    assert hosts["h1"].run("cat", "/run/started").stdout
    assert hosts["h2"].run("test", "-e", "/run/started", check=False).returncode == 1
    assert "office" not in hosts["h2"].run("ls", "/run/dos-vm/gateways").stdout
    until(lambda: visited(lab, hosts["h1"]))
    assert not visited(lab, hosts["h2"])
    told = site.done("dos.vm.site")  # and there it stays
    assert "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions\n" in told
    until(lambda: serves(hosts["h1"], f"[{SIX}]"))
    # Asked in the guest's name on its host, and answered by the other one over the cable (NWF-01).
    seen = site.done("dos.vm.probe")
    assert seen.count("web → 10.70.0.1/32: answered") == 1, seen
    assert seen.count("web → 10.70.0.1/32: took the connection") == 1, seen
    assert seen.count("web → fd00:70::1/128: answered") == 1, seen
    assert not hosts["h2"].run("sh", "-c", "ls /sys/class/net | grep -E '^d[pe][0-9a-f]{10}$' || true").stdout
    with end(hosts["h2"], "10.70.0.50/24"):
        assert "lease of 10.70.0.1" in inside(
            hosts["h2"], "busybox", "udhcpc", "-i", "endb", "-n", "-q", "-s", "/bin/true"
        )


def test_a_gateway_that_died_is_put_up_again(site: Declared, hosts: dict[str, Host], lab: Lab) -> None:
    hosts["h1"].run("sh", "-c", "kill $(cat /run/dos-vm/gateways/office.pid)")
    assert "gateway office" in site.done("dos.vm.site")
    assert "10.70.0.9" in asked(hosts["h1"], "printer.office.example")


def test_a_gateway_that_is_broken_when_it_moves_leaves_nothing(
    site: Declared, hosts: dict[str, Host], lab: Lab
) -> None:
    hosts["h1"].run("sh", "-c", "kill $(cat /run/dos-vm/gateways/office.pid); rm -r /run/dos-vm/gateways/office.xml")
    assert "dos_gw" in hosts["h1"].run("nft", "list", "tables").stdout
    site.done("dos.vm.gateway", {"dos_gateway_hosts": {"office": "h2"}})
    assert [has_it(hosts[name]) for name in ("h1", "h2")] == [False, True]
    assert "dos_gw" not in hosts["h1"].run("nft", "list", "tables").stdout
    assert not hosts["h1"].run("sh", "-c", "ls /run/dos-vm/gateways").stdout
    until(lambda: visited(lab, hosts["h2"]))
