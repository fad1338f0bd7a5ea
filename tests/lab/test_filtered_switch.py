# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest in a security group on Open vSwitch: filtered on its own host, in its VLAN, over a cable to the others (HOT-05).

Who talks to it is a name space on another host, at a port of that host's switch; it also hands out the guest's address.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from consoles import types
from lxml import etree
from namespaces.host import Host
from namespaces.lab import Lab
from namespaces.process import PATIENCE
from test_bridges import Declared
from test_site import changed

MAC, SECOND, FORGED_MAC = "52:54:00:62:00:0b", "52:54:00:62:00:1b", "52:54:00:62:00:77"
GUEST, PEER, OTHER, FORGED = "10.62.0.11", "10.62.0.1", "10.62.0.2", "10.62.0.77"
VM = "guarded"
SITE: dict[str, Any] = {
    "dos_site": "filtered",
    "dos_projects": {"p": {}},
    "dos_pools": {"fs-common": {"path": "/srv/shared/filtered", "shared": True}},
    "dos_images": {"busybox": {"file": "/srv/shared/images/busybox.qcow2", "format": "qcow2", "shared": True}},
    "dos_subnets": {"data": {"address": "10.62.0.0/24"}},
    "dos_networks": {
        "data": {
            "type": "ovs",
            "bridge": "ovs-data",
            "forward_interface": "eth1",
            "datapath": "netdev",  # this kernel has no switch of its own
            "stp": False,
            "subnet": "data",
            "hosts": ["h1", "h2"],
            "port_groups": [{"name": "ten", "vlan": {"tags": [{"id": 10}]}}],
        }
    },
    "dos_security_groups": {"web": {"rules": [{"protocol": "tcp", "ports": [80]}, {"protocol": "icmp"}]}},
    "dos_assertions": {"out": {"from": VM, "to": PEER}},
    "dos_instances": {
        VM: {
            "project": "p",
            "memory": "96 MiB",
            "stop_timeout": 0,
            "hosts": ["h1", "h2"],
            "disks": [{"image": "busybox", "pool": "fs-common"}],
            "interfaces": [{"network": "data", "security_group": "web", "mac": MAC, "ip": GUEST, "boot_rom": False}],
            "vms": {VM: {}},
        }
    },
}
GONE = {"data_loss": [f"volume fs-common/{VM}-vda"]}
BOTH = ("h1", "h2")


def with_rules(*rules: dict[str, Any]) -> dict[str, Any]:
    return {**SITE, "dos_security_groups": {"web": {"rules": list(rules)}}}


def with_cards(*cards: dict[str, Any]) -> dict[str, Any]:
    held = deepcopy(SITE)
    held["dos_instances"][VM]["interfaces"] += cards
    return held


@pytest.fixture(scope="module")
def site(lab: Lab, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Declared]:
    assert image.exists()
    made = Declared(lab, tmp_path_factory.mktemp("filtered"))
    for host in map(lab.host, BOTH):
        host.run("systemctl", "enable", "--now", "openvswitch-switch")
    made.declare(SITE)
    made.done("dos.vm.site")
    yield made
    made.declare({"dos_site": "filtered"})
    made.done("dos.vm.site", {"dos_prune": True, "dos_allow": ["restart", GONE]})
    for host in lab.hosts():
        assert not host.run("sh", "-c", "ls /etc/dos-vm/bridges 2>/dev/null; true").stdout.strip()
        assert not devices(host)
    for host in map(lab.host, BOTH):
        assert not host.run("ovs-vsctl", "list-br").stdout.strip()
        host.run("systemctl", "disable", "--now", "openvswitch-switch")


def devices(host: Host) -> list[str]:
    """The bridges in front of ports, and the ends of their cables."""
    return sorted(name for name in host.run("ls", "/sys/class/net").stdout.split() if name.startswith("dv"))


def ports(host: Host) -> dict[str, Any]:
    """Of the ports that are ours: the columns that matter."""
    columns = "--columns=_uuid,name,tag,trunks,vlan_mode"
    told = json.loads(host.run("ovs-vsctl", "--format=json", columns, "list", "port").stdout)["data"]
    return {row[1]: [*row[:1], *row[2:]] for row in told if row[1].startswith("dv")}


def bridge_of(host: Host) -> str:
    (name,) = (name for name in devices(host) if not name.endswith(("-l", "-o")))
    return name


def home(hosts: dict[str, Host]) -> Host:
    (found,) = (host for host in hosts.values() if VM in host.run("virsh", "list", "--name").stdout.split())
    return found


@pytest.fixture(scope="module")
def peer(site: Declared, lab: Lab) -> Iterator[Callable[..., str]]:
    """Somebody in VLAN 10 on the second host, and somebody in VLAN 20; what a command says there, and how it ends."""
    host = lab.host("h2")
    stand_by(host)

    def inside(command: str, name: str = "ten") -> str:
        done = host.run("ip", "netns", "exec", name, "sh", "-c", command, check=False)
        return f"{done.stdout}{done.stderr}rc={done.returncode}"

    until(lambda: serves(inside), lambda: (inside("ip neigh"), host.run("ovs-vsctl", "show").stdout))
    yield inside
    for name in ("ten", "twenty"):
        host.run(
            "sh",
            "-c",
            f"kill $(cat /run/{name}.pid); ovs-vsctl --if-exists del-port {name}; ip netns del {name}",
            check=False,
        )


def stand_by(host: Host) -> None:
    for name, tag, address in (("ten", 10, PEER), ("twenty", 20, OTHER)):
        steps = [
            f"ovs-vsctl add-port ovs-data {name} tag={tag} -- set interface {name} type=internal",
            f"ip netns add {name}",
            f"ip link set {name} netns {name}",
            f"ip -n {name} address add {address}/24 dev {name}",
            f"ip -n {name} link set {name} up",
            f"ip netns exec {name} dnsmasq --interface={name} --bind-interfaces --except-interface=lo --port=0 "
            f"--dhcp-range=10.62.0.1,10.62.0.99,1h --dhcp-host={MAC},{GUEST} --dhcp-authoritative "
            f"--pid-file=/run/{name}.pid --leasefile-ro",
        ]
        host.run("sh", "-ec", "\n".join(steps))


def until(true: Callable[[], bool], what: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)


def page(peer: Callable[..., str], port: int = 80, path: str = "", name: str = "ten") -> str:
    return peer(f"curl -s --max-time 4 http://{GUEST}:{port}/{path}", name)


def serves(peer: Callable[..., str], port: int = 80) -> bool:
    return "<h1>" in page(peer, port)


def test_rules_let_one_port_through_and_no_other(
    site: Declared, hosts: dict[str, Host], peer: Callable[..., str]
) -> None:
    """HOT-03, HOT-04, HOT-05."""
    host = home(hosts)
    assert changed(site.done("dos.vm.site")) == 0
    types(host, VM, "httpd -p 81 -h /www")
    assert not serves(peer, 81)
    site.declare(with_rules({"protocol": "tcp", "ports": ["80-81"]}, {"protocol": "icmp"}))
    site.done("dos.vm.site")
    until(lambda: serves(peer, 81))
    site.declare(SITE)
    site.done("dos.vm.site")
    assert not serves(peer, 81)
    assert serves(peer)


def test_the_port_says_all_that_a_tap_of_libvirts_would(site: Declared, hosts: dict[str, Host]) -> None:
    """HOT-04, HOT-05."""
    host = home(hosts)
    name = bridge_of(host)
    told = host.run("ovs-vsctl", "--format=json", "--columns=external_ids", "list", "interface", f"{name}-o").stdout
    ids = dict(json.loads(told)["data"][0][0][1])
    domain = etree.fromstring(host.run("virsh", "dumpxml", VM).stdout)
    assert ids["iface-status"] == "active"
    assert ids["attached-mac"] == MAC
    assert ids["vm-uuid"] == ids["vm-id"] == domain.findtext("uuid")
    assert ids["iface-id"]
    assert ports(host)[f"{name}-o"][1:] == [10, ["set", []], ["set", []]]
    assert domain.find("devices/interface/source").get("bridge") == name
    sys = f"/sys/class/net/{name}/bridge"
    assert host.run("cat", f"{sys}/forward_delay", f"{sys}/stp_state").stdout.split() == ["0", "0"]
    assert host.run("cat", f"{sys}/multicast_snooping").stdout.split() == ["0"]
    for end in (f"{name}-l", f"{name}-o"):
        assert "PROMISC" in host.run("ip", "link", "show", "dev", end).stdout
    for device in devices(host):
        assert not host.run("ip", "-6", "address", "show", "dev", device).stdout


def test_nobody_else_reaches_it_and_it_is_nobody_else(
    site: Declared, hosts: dict[str, Host], peer: Callable[..., str]
) -> None:
    """PGRT-04, NWF-08: the VLAN is kept, and neither its address nor its MAC can be another's."""
    host = home(hosts)
    assert "rc=0" in peer(f"ping -c2 -W2 {GUEST}")
    assert "rc=0" not in peer(f"ping -c2 -W2 {GUEST}", "twenty")
    types(
        host,
        VM,
        f"(ip addr add {FORGED}/24 dev eth0; ping -c2 -W2 {PEER} >/dev/null; echo own=$?; ping -c2 -W2 -I {FORGED} {PEER} >/dev/null; "
        f"echo ip=$?; sleep 8; ip addr del {FORGED}/24 dev eth0; ip link set eth0 address {FORGED_MAC}; "
        f"ping -c2 -W2 {PEER} >/dev/null; echo mac=$?; ip link set eth0 address {MAC}; echo done) >/www/forged 2>&1",
    )
    peer(f"ping -c3 -W2 {FORGED}")
    assert FORGED not in "\n".join(line for line in peer("ip neigh").splitlines() if "lladdr" in line)
    until(lambda: "done" in page(peer, path="forged"), lambda: page(peer, path="forged"))
    told = page(peer, path="forged")
    assert ("own=0" in told, "ip=1" in told, "mac=1" in told) == (True, True, True), told
    assert FORGED_MAC not in peer("ip neigh")


def test_packets_are_sent_in_its_name(site: Declared, peer: Callable[..., str]) -> None:
    """A card of the kernel's bridge can be lent, so what is asserted of this one can be asked (NWF-01)."""
    assert serves(peer)
    assert f"{VM} → {PEER}/32: answered" in site.done("dos.vm.probe")


def test_its_script_may_run_over_what_is_there(
    site: Declared, hosts: dict[str, Host], peer: Callable[..., str]
) -> None:
    host = home(hosts)
    name = bridge_of(host)

    def identity() -> tuple[str, Any]:
        shown = json.loads(host.run("ip", "-json", "link", "show").stdout)
        return str([(link["ifname"], link["ifindex"]) for link in shown]), ports(host)

    before = identity()
    host.run("sh", f"/etc/dos-vm/bridges/{name}", "start")
    assert identity() == before
    assert serves(peer)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("ovs-vsctl del-port {0}-o", "port.switch: ovs-data"),
        ("ip link del {0}-l", "port.switch: ovs-data"),
        ("ovs-vsctl set port {0}-o tag=20", "port.vlan.tags[10]"),
        ("ip link set {0}-l nomaster", "port.switch: ovs-data"),
        ("ip link del {0}", "changed=1"),
    ],
    ids=["port", "cable", "vlan", "end", "bridge"],
)
def test_what_was_broken_is_mended_under_the_guest(
    site: Declared, hosts: dict[str, Host], peer: Callable[..., str], broken: str, told: str
) -> None:
    host = home(hosts)
    assert serves(peer)
    host.run("sh", "-ec", broken.format(bridge_of(host)))
    assert not serves(peer)
    assert told in site.done("dos.vm.site")
    until(lambda: serves(peer), lambda: host.run("ovs-vsctl", "show").stdout)
    assert not serves(peer, 81)
    assert changed(site.done("dos.vm.site")) == 0


def test_a_card_comes_and_goes_under_the_running_guest(site: Declared, hosts: dict[str, Host]) -> None:
    """HOT-03: nothing of it stays, and nobody has to allow that."""
    host = home(hosts)
    before, number = devices(host), host.run("virsh", "domid", VM).stdout
    site.declare(
        with_cards({"network": "data", "security_group": "web", "mac": SECOND, "boot_rom": False, "link": "down"})
    )
    site.done("dos.vm.site")
    assert changed(site.done("dos.vm.site")) == 0
    assert len(devices(host)) == 2 * len(before)
    cards = etree.fromstring(host.run("virsh", "dumpxml", VM).stdout).findall("devices/interface")
    assert [card.find("mac").get("address") for card in cards] == [MAC, SECOND]
    assert [None if (link := card.find("link")) is None else link.get("state") for card in cards] == [None, "down"]
    site.declare(SITE)
    site.done("dos.vm.site")
    assert SECOND not in host.run("virsh", "domiflist", VM).stdout
    assert devices(host) == before
    assert set(ports(host)) == {f"{bridge_of(host)}-o"}
    assert host.run("virsh", "domid", VM).stdout == number


def test_it_moves_with_its_bridge(site: Declared, hosts: dict[str, Host], peer: Callable[..., str]) -> None:
    """MIG-01: the bridge is there before the machine, and gone after it; the port is the same one for whoever reads its ids."""
    here = home(hosts)
    there = next(hosts[name] for name in BOTH if hosts[name] is not here)
    name = bridge_of(here)
    assert not devices(there)
    site.done("dos.vm.migrate", {"dos_vm": VM, "dos_to": there.name})
    assert home(hosts) is there
    assert (devices(here), bridge_of(there), ports(here)) == ([], name, {})
    until(lambda: serves(peer))
    assert not serves(peer, 81)
    assert "rc=0" not in peer(f"ping -c2 -W2 {GUEST}", "twenty")
    assert changed(site.done("dos.vm.site")) == 0


def test_it_comes_back_with_its_host(
    site: Declared, hosts: dict[str, Host], lab: Lab, peer: Callable[..., str]
) -> None:
    """A crash leaves the port in the switch's database, and the guest is started when its bridge is up."""
    if home(hosts).name != "h1":
        site.done("dos.vm.migrate", {"dos_vm": VM, "dos_to": "h1"})
    host = hosts["h1"]
    # Its disk is on storage that several hosts reach, so no site declares this: a person does it, and the next run undoes it.
    host.run("virsh", "autostart", VM)
    host.crash()
    lab.boot("h1")
    until(
        lambda: VM in host.run("virsh", "list", "--name", check=False).stdout,
        lambda: host.run("systemctl", "--failed").stdout,
    )
    until(
        lambda: serves(peer), lambda: (host.run("ovs-vsctl", "show").stdout, host.run("systemctl", "--failed").stdout)
    )
    site.done("dos.vm.site")
    assert changed(site.done("dos.vm.site")) == 0


def test_a_running_guest_changes_its_plug_when_it_starts(
    site: Declared, hosts: dict[str, Host], peer: Callable[..., str]
) -> None:
    """INST-09: filtered or not is another plug. Until the guest has it, what it runs on is left alone, and so is its filter."""
    host, restart = home(hosts), {"dos_allow": ["restart"]}
    before = devices(host)
    free = deepcopy(SITE)
    del free["dos_instances"][VM]["interfaces"][0]["security_group"]
    site.declare(free)
    site.done("dos.vm.site")
    assert devices(host) == before
    assert "sg.web" in host.run("virsh", "dumpxml", VM).stdout
    assert serves(peer)
    site.done("dos.vm.site", restart)
    assert devices(host) == []
    assert "filterref" not in host.run("virsh", "dumpxml", VM).stdout
    until(lambda: "rc=0" in peer(f"ping -c1 -W2 {GUEST}"))
    site.declare(SITE)
    site.done("dos.vm.site")
    assert devices(host) == before
    assert "filterref" not in host.run("virsh", "dumpxml", VM).stdout
    assert "rc=0" in peer(f"ping -c1 -W2 {GUEST}")
    site.done("dos.vm.site", restart)
    until(lambda: serves(peer))
    assert changed(site.done("dos.vm.site")) == 0
