# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of VLANs on Open vSwitch, on two kernels whose only cable is the trunk: what is declared, made, crossed, and undone.

The datapath is the kernels' own. The cable carries each kernel's own address as well, which the bridge therefore takes over
(NET-12). Who is plugged in are name spaces, by ports with the VLANs that libvirt would give to cards of the port groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kernels.lab import Kernels
from namespaces.group import TREE

from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.decode import encode
from dosvm.model.network import PortGroup
from dosvm.model.slice import Slice
from dosvm.site.load import load

ON = ("k1", "k2")
SITE: dict[str, Any] = {
    "dos_site": "trunks",
    "dos_networks": {
        "data": {
            "type": "ovs",
            "bridge": "ovs-data",
            "forward_interface": "eth0",
            "datapath": "system",
            "stp": False,
            "hosts": "all",
            "port_groups": [
                {"name": "ten", "vlan": {"tags": [{"id": 10}]}},
                {"name": "twenty", "vlan": {"tags": [{"id": 20}]}},
                {
                    "name": "router",
                    "vlan": {"trunk": True, "tags": [{"id": 10}, {"id": 20, "native_mode": "untagged"}]},
                },
            ],
        }
    },
}
GUARDED: dict[str, Any] = {
    **SITE,
    "dos_projects": {"p": {}},
    "dos_security_groups": {"web": {"rules": []}},
    "dos_instances": {
        "guarded": {
            "project": "p",
            "memory": "64 MiB",
            "interfaces": [{"network": "data", "port_group": "ten", "security_group": "web"}],
            "vms": {"guarded": {"host": "k1", "power": "off"}},
        }
    },
}
# Brings a kernel to the slice that is read from its first argument, as dos.vm.host does, and says whether that changed it.
CONVERGE = f"""
import json, subprocess, sys
sys.path.insert(0, "{TREE}/src")
subprocess.run([sys.executable, "{TREE}/tools/libvirt_up.py"], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
from dosvm.apply import converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
held = decode(Slice, json.load(open(sys.argv[1])))
outcome = converge(held, LibvirtHypervisor(), permission=Permission(uplink=("eth0",), prune=True, restart=True))
assert not outcome.failures, outcome.failures
print(outcome.changed)
"""


def compiled(variables: dict[str, Any]) -> dict[str, Slice]:
    site = load(variables, hosts=ON)
    states = {host: HostState(facts=FakeHypervisor().facts()) for host in ON}
    return dict(compile_site(site, states, now=0.0).slices)


def converged(kernels: Kernels, name: str, held: Slice) -> bool:
    """Whether it changed the kernel to bring it to its slice."""
    (kernels.shared / "converge.py").write_text(CONVERGE)
    (kernels.shared / f"{name}.json").write_text(json.dumps(encode(held)))
    script = f"{TREE}/.venv/bin/python /srv/shared/converge.py /srv/shared/{name}.json"
    return kernels.sh(script, on=name).split()[-1] == "True"


@pytest.fixture(scope="module")
def trunk(kernels: Kernels) -> Iterator[dict[str, PortGroup]]:
    """The port groups of the network, which is up on both kernels."""
    switch = "/usr/share/openvswitch/scripts/ovs-ctl"
    slices = compiled(SITE)
    for name in ON:
        kernels.sh(f"{switch} start --system-id=random --no-monitor </dev/null >/dev/null 2>&1", on=name)
    try:
        assert [converged(kernels, name, slices[name]) for name in ON] == [True, True]
        assert [converged(kernels, name, slices[name]) for name in ON] == [False, False]
        yield {group.name: group for group in slices["k1"].networks[0].port_groups}
    finally:
        for name in ON:
            converged(kernels, name, Slice(site=slices[name].site))
            assert "10.79." in kernels.sh("ip -4 -o address show dev eth0; ovs-vsctl list-br", on=name)
            kernels.sh(f"{switch} stop </dev/null >/dev/null 2>&1", on=name)


def plug(kernels: Kernels, on: str, name: str, group: PortGroup, *addresses: str) -> None:
    """A name space at a port of the switch, with addresses; `10=ADDRESS` is in VLAN 10 inside of it (802.1Q)."""
    assert group.vlan is not None
    ids = ",".join(str(tag.id) for tag in group.vlan.tags)
    native = next((tag for tag in group.vlan.tags if tag.native_mode), None)
    vlans = f"trunks={ids}" if group.vlan.trunk else f"tag={ids}"
    vlans += f" vlan_mode=native-{native.native_mode} tag={native.id}" if native else ""
    steps = [
        f"ip netns add {name}",
        f"ovs-vsctl -t 20 add-port ovs-data p{name} {vlans} -- set interface p{name} type=internal",
        f"ip link set p{name} netns {name}",
        f"ip -n {name} link set p{name} up",
    ]
    for tag, _, address in (held.rpartition("=") for held in addresses):
        device = f"v{tag}" if tag else f"p{name}"
        if tag:
            steps.append(f"ip -n {name} link add link p{name} name {device} type vlan id {tag}")
        steps.append(f"ip -n {name} address add {address}/24 dev {device}; ip -n {name} link set {device} up")
    kernels.sh("\n".join(steps), on=on)


def reaches(kernels: Kernels, on: str, name: str, address: str) -> bool:
    ping = ("ip", "netns", "exec", name, "ping", "-c1", "-W3", address)
    return any(kernels.run(*ping, on=on, check=False).returncode == 0 for _ in range(3))


def test_vlans_cross_the_trunk_and_stay_apart(kernels: Kernels, trunk: dict[str, PortGroup]) -> None:
    """NET-18, PGRT-T1.3: access and trunk, tagged and untagged, between two kernels whose switches are their own."""
    try:
        plug(kernels, "k1", "ten", trunk["ten"], "10.90.10.1")
        plug(kernels, "k1", "twenty", trunk["twenty"], "10.90.20.1")
        plug(kernels, "k2", "router", trunk["router"], "10.90.20.3", "10=10.90.10.3")
        plug(kernels, "k2", "other", trunk["ten"], "10.90.10.4")
        for name in ON:
            assert "system@ovs-system" in kernels.sh("ovs-appctl dpctl/dump-dps", on=name)
            assert "10.79." in kernels.sh("ip -4 -o address show dev ovs-data", on=name)
        assert reaches(kernels, "k1", "ten", "10.90.10.3"), "a trunk port has no VLAN 10, tagged"
        assert reaches(kernels, "k1", "ten", "10.90.10.4"), "two access ports of VLAN 10"
        assert reaches(kernels, "k1", "twenty", "10.90.20.3"), "a trunk port has no VLAN 20, untagged"
        # With an address of the other VLAN's network it is still in its own.
        kernels.sh("ip -n twenty address add 10.90.10.2/24 dev ptwenty")
        assert not reaches(kernels, "k1", "twenty", "10.90.10.4")
        assert not reaches(kernels, "k1", "twenty", "10.90.10.3")
        # The flows are the kernel's, and what is on the cable has its tag.
        assert "push_vlan(vid=10" in kernels.sh(
            "ip netns exec ten ping -c 2 10.90.10.4 >/dev/null; ovs-appctl dpctl/dump-flows system@ovs-system"
        )
    finally:
        for on, name in (("k1", "ten"), ("k1", "twenty"), ("k2", "router"), ("k2", "other")):
            kernels.sh(f"ovs-vsctl -t 20 --if-exists del-port p{name}; ip netns del {name} || true", on=on)


def test_a_filtered_card_has_its_bridge_in_front_of_a_port(kernels: Kernels, trunk: dict[str, PortGroup]) -> None:
    """HOT-05: whoever is plugged into it is in the VLAN of its port, and in no other, by way of the kernel's own switch."""
    held = compiled(GUARDED)["k1"]
    (bridge,) = (str(one.name) for one in held.bridges if one.port is not None)
    try:
        plug(kernels, "k2", "other", trunk["ten"], "10.90.10.4")
        plug(kernels, "k2", "stranger", trunk["twenty"], "10.90.10.5")
        assert converged(kernels, "k1", held)
        assert not converged(kernels, "k1", held)
        steps = [
            "ip netns add guest",
            "ip link add name g0 type veth peer name g1",
            "ip link set g1 netns guest",
            "ip -n guest address add 10.90.10.9/24 dev g1",
            "ip -n guest link set g1 up",
            f"ip link set g0 master {bridge} up",
        ]
        kernels.sh("\n".join(steps), on="k1")
        assert reaches(kernels, "k1", "guest", "10.90.10.4")
        assert not reaches(kernels, "k1", "guest", "10.90.10.5")
        kernels.sh(f"ovs-vsctl -t 20 del-port {bridge}-o; ip link del {bridge}-l", on="k1")
        assert not reaches(kernels, "k1", "guest", "10.90.10.4")
        assert converged(kernels, "k1", held)
        assert reaches(kernels, "k1", "guest", "10.90.10.4")
    finally:
        kernels.sh("ip netns del guest || true", on="k1")
        converged(kernels, "k1", compiled(SITE)["k1"])
        for name in ("other", "stranger"):
            kernels.sh(f"ovs-vsctl -t 20 --if-exists del-port p{name}; ip netns del {name} || true", on="k2")
    assert bridge not in kernels.sh("ls /sys/class/net; ovs-vsctl list-ports ovs-data", on="k1")
