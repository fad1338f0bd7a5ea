# SPDX-License-Identifier: GPL-3.0-or-later
"""A site of any size, always the same for the same numbers: what a private cloud of that size would declare.

Hosts stand in racks of ten. A project has a network of its own in one rack, whose machines are bound to that rack by it, and
plugs the rest of its machines into bridges that every host has. Disks are in a directory of each host, on a pool of one host,
or on storage that all hosts share.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from dosvm.compile.site import HostState
from dosvm.model.host import HostFacts
from dosvm.model.types import ByteSize

RACK = 10
VMS_PER_PROJECT = 100
SEED = 20_000
GIB = 2**30

Raw = dict[str, Any]


@dataclass
class Draft:
    """The variables as they grow."""

    hosts: list[str]
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    kinds: dict[str, Raw] = field(default_factory=dict)

    def add(self, kind: str, name: str, **held: Any) -> str:
        """One more object; `None` is what the operator did not write."""
        self.kinds.setdefault(kind, {})[name] = {key: value for key, value in held.items() if value is not None}
        return name

    def rack(self, number: int) -> list[str]:
        """The hosts of the rack with this number, counted round."""
        first = number * RACK % len(self.hosts)
        return self.hosts[first : first + RACK]


def big_site(vms: int, hosts: int) -> tuple[Raw, list[str]]:
    """The variables of a site with so many machines and hosts, and the names of the hosts."""
    draft = Draft([f"host-{number:04}" for number in range(hosts)])
    _shared(draft)
    projects = max(1, vms // VMS_PER_PROJECT)
    for number in range(projects):
        last = number == projects - 1
        _project(draft, number, vms - VMS_PER_PROJECT * number if last else VMS_PER_PROJECT)
    return {"dos_site": "big", **{f"dos_{kind}": held for kind, held in draft.kinds.items()}}, draft.hosts


def _shared(draft: Draft) -> None:
    """What belongs to no project."""
    draft.add("pools", "local", path="/srv/vm/local")
    draft.add("pools", "san", path="/srv/vm/san", shared=True)
    for host in draft.hosts:
        draft.add("pools", f"ssd-{host}", path="/srv/vm/ssd", host=host)
    for name in ("debian", "ubuntu", "rocky", "windows"):
        draft.add("images", name, file=f"/srv/images/{name}.qcow2", format="qcow2")
    for number in range(8):
        draft.add("networks", f"vlan-{number}", type="bridge", bridge=f"br-vlan{number}")
    for name, port in (("web", "443"), ("database", "5432"), ("shell", "22")):
        rule = {"action": "accept", "direction": "in", "protocol": "tcp", "match": {"dstportstart": port}}
        draft.add("filters", name, references=[{"filter": "clean-traffic"}], rules=[rule])
        draft.add("security_groups", name, filter=name)


def _project(draft: Draft, number: int, vms: int) -> None:
    name = draft.add(
        "projects",
        f"project-{number}",
        label=f"Project {number}",
        quota={"vcpus": 2000, "memory": "4 TiB"} if number % 3 == 0 else None,
    )
    prefix = ipaddress.ip_network((0x0A000000 + number * 1024, 22))
    subnet = draft.add(
        "subnets",
        f"lan-{number}",
        address=str(prefix),
        gateway=str(prefix[1]),
        pool=[{"start": str(prefix[512]), "end": str(prefix[1000])}],
        dhcp={},
        dns={"domain": f"p{number}.example"},
    )
    network = draft.add(
        "networks",
        f"lan-{number}",
        type=("nat", "route", "isolated")[number % 3],
        project=name,
        subnet=subnet,
        bridge=f"br-lan{number}",
        hosts=draft.rack(number),
    )
    addresses = (str(prefix[at]) for at in count(2))
    for at in count():
        size = min(vms, draft.dice.randint(1, 20))
        if not size:
            return
        vms -= size
        _instance(draft, f"app-{number}-{at}", name, network, size, addresses)


def _instance(draft: Draft, name: str, project: str, network: str, size: int, addresses: Iterator[str]) -> None:
    dice = draft.dice
    bound = dice.random()
    host = dice.choice(draft.rack(int(network.partition("-")[2]))) if bound < 0.1 else None
    own_network = bound < 0.5
    card = {
        "network": network if own_network else f"vlan-{dice.randrange(8)}",
        "security_group": dice.choice(["web", "shell"]),
    }
    vms = [f"{name}-{number}" for number in range(size)]
    draft.add(
        "instances",
        name,
        project=project,
        label=f"Application {name}",
        host=host,
        vcpus=dice.choice([1, 2, 2, 4]),
        memory=dice.choice(["1 GiB", "2 GiB", "4 GiB", "8 GiB"]),
        disks=list(_disks(draft, name, size, host)),
        interfaces=[card],
        graphics=[{"type": "vnc", "listen": "127.0.0.1"}] if dice.random() < 0.5 else None,
        serial={"log": True} if dice.random() < 0.5 else None,
        vms={vm: _vm(draft, card["network"], own_network, addresses) for vm in vms},
    )


def _disks(draft: Draft, name: str, size: int, host: str | None) -> Iterator[Raw]:
    pool = f"ssd-{host}" if host else draft.dice.choice(["local", "local", "san"])
    yield {"image": draft.dice.choice(["debian", "ubuntu", "rocky"]), "pool": pool, "capacity": "20 GiB"}
    if size == 1:
        # A volume that is declared by itself goes from one machine to the next, so it is on storage every host sees.
        yield {"volume": draft.add("volumes", f"{name}-data", pool="san", capacity="100 GiB")}
    elif draft.dice.random() < 0.3:
        yield {"pool": pool, "capacity": "50 GiB", "format": "raw"}


def _vm(draft: Draft, network: str, own_network: bool, addresses: Iterator[str]) -> Raw | None:
    """Half of the machines in a network of their project have an address of their own; one in ten of all is off."""
    held: Raw = {}
    if own_network and draft.dice.random() < 0.5:
        held["ip"] = {network: next(addresses)}
    if draft.dice.random() < 0.1:
        held["power"] = "off"
    return held or None


def empty_hosts(hosts: list[str]) -> dict[str, HostState]:
    """What the hosts tell of themselves before anything is on them."""
    return {host: HostState(facts=_facts(host)) for host in hosts}


def full_hosts(hosts: list[str], slices: Mapping[str, Any]) -> dict[str, HostState]:
    """What they tell after their slices were converged."""
    return {
        host: HostState(
            facts=_facts(host),
            domains={domain.name: True for domain in slices[host].domains},
            epochs={domain.name: domain.mark.epoch for domain in slices[host].domains},
            volumes=frozenset(f"{volume.pool}/{volume.name}" for volume in slices[host].volumes),
        )
        for host in hosts
    }


def _facts(host: str) -> HostFacts:
    return HostFacts(
        hostname=host,
        uuid="",
        libvirt=9_000_000,
        hypervisor=7_002_022,
        arch="x86_64",
        cpus=64,
        memory=ByteSize(512 * GIB),
        free_memory=ByteSize(500 * GIB),
        kvm=True,
        emulators={"x86_64": "/usr/bin/qemu-system-x86_64"},
    )
