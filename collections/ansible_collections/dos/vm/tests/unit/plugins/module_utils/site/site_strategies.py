# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites that are in order: variables for `load`, drawn by hypothesis, and the hosts of the inventory.

Everything is numbered, so that nothing clashes by chance: what a machine or network gets is a function of its number, and
hypothesis decides how many there are, how they are made and who uses what. A draw is small; `tests/perf/generate.py` has
big ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

Raw = dict[str, Any]
Draw = Any  # hypothesis' own type is generic in what it draws


class Declared(NamedTuple):
    """The variables of a site, and its hosts."""

    variables: Raw
    hosts: tuple[str, ...]


# What suits every machine that is drawn here.
PROPERTIES: tuple[Raw, ...] = (
    {"nic_model": "e1000", "threads": 1},
    {"disk_bus": "sata", "disk_cache": "none"},
    {"disk_bus": "scsi", "scsi_model": "virtio-scsi", "cores": 1},
)


@st.composite
def sites(draw: Draw, *, most_hosts: int = 4, most_instances: int = 5) -> Declared:
    """A site that `load` accepts without a problem."""
    hosts = tuple(f"host-{number}" for number in range(1, draw(st.integers(1, most_hosts)) + 1))
    projects = {f"project-{number}": draw(_project()) for number in range(draw(st.integers(1, 3)))}
    pools = {f"pool-{number}": draw(_pool(number)) for number in range(draw(st.integers(1, 3)))}
    images = {f"image-{number}": draw(_image(number)) for number in range(draw(st.integers(0, 2)))}
    subnets = {f"subnet-{number}": draw(_subnet(number)) for number in range(draw(st.integers(0, 3)))}
    subnets |= {f"six-{number}": draw(_subnet6(number)) for number in range(3) if draw(st.booleans())}
    networks = {f"network-{number}": draw(_network(number, list(subnets))) for number in range(draw(st.integers(0, 3)))}
    filters = {f"filter-{number}": draw(_filter(number)) for number in range(draw(st.integers(0, 3)))}
    groups = {f"group-{name}": {"filter": name} for name in filters}
    volumes: Raw = {}
    parts = _Parts(list(projects), list(pools), list(images), networks, subnets, list(groups), volumes)
    instances = {
        f"instance-{number}": draw(_instance(number, parts)) for number in range(draw(st.integers(0, most_instances)))
    }
    kinds = {
        "projects": projects, "pools": pools, "images": images, "volumes": volumes, "subnets": subnets,
        "networks": networks, "filters": filters, "security_groups": groups, "instances": instances,
    }  # fmt: skip
    site = {f"dos_{kind}": held for kind, held in kinds.items() if held or draw(st.booleans())}
    site |= draw(_some(dos_system=st.sampled_from([{"properties": said} for said in PROPERTIES])))
    return Declared({"dos_site": draw(st.sampled_from(["dos", "lab-1"])), **site}, hosts)


class _Parts(NamedTuple):
    """What instances are put together from."""

    projects: list[str]
    pools: list[str]
    images: list[str]
    networks: Raw
    subnets: Raw
    groups: list[str]
    volumes: Raw


def _some(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[Raw]:
    """Any of these fields, each there or not."""
    return st.fixed_dictionaries({}, optional=choices)


def _project() -> st.SearchStrategy[Raw]:
    return _some(label=st.just("项目"), active=st.booleans(), quota=st.just({"vcpus": 5000, "memory": "2 TiB"}))


@st.composite
def _pool(draw: Draw, number: int) -> Raw:
    """Shared pools and pools of every host: where a machine is does not matter to them."""
    fields = _some(shared=st.booleans(), autostart=st.booleans(), capacity=st.just("900 TiB"))
    return {"path": f"/srv/vm/{number}", **draw(fields)}


@st.composite
def _image(draw: Draw, number: int) -> Raw:
    fields = _some(
        arch=st.sampled_from(["x86_64", "any"]),
        shared=st.booleans(),
        os_type=st.sampled_from(["linux", "windows", "other"]),
        properties=st.sampled_from(PROPERTIES),
    )
    return {"file": f"/srv/images/{number}.img", "format": draw(st.sampled_from(["qcow2", "raw"])), **draw(fields)}


@st.composite
def _subnet(draw: Draw, number: int) -> Raw:
    """Addresses .10 to .99 are written for machines; the pool has one for every card that has none."""
    base = f"10.{number}.0"
    held: Raw = {"address": f"{base}.0/24", "gateway": f"{base}.1"}
    if draw(st.booleans()):
        held["pool"] = [{"start": f"{base}.100", "end": f"{base}.{draw(st.integers(150, 199))}"}]
        held["dhcp"] = draw(_some(boot_file=st.just("pxelinux.0"), allocate=st.booleans()))
    return {**held, **draw(_some(dns=_some(domain=st.just(f"s{number}.example"), forward_plain_names=st.booleans())))}


@st.composite
def _subnet6(draw: Draw, number: int) -> Raw:
    base = f"fd00:{number}:"
    held: Raw = {"address": f"{base}:/64", "gateway": f"{base}:1"}
    if draw(st.booleans()):
        held["dhcp"] = {}
        held |= draw(_some(pool=st.just([{"start": f"{base}:100", "end": f"{base}:1ff"}])))
    return held


@st.composite
def _network(draw: Draw, number: int, subnets: list[str]) -> Raw:
    """A network uses the subnet of its own number, so nobody shares one against the rules."""
    subnet = f"subnet-{number}" if f"subnet-{number}" in subnets else None
    types = ["isolated", "bridge", *(["nat", "route"] if subnet or f"six-{number}" in subnets else [])]
    held: Raw = {"type": draw(st.sampled_from(types)), "bridge": f"vir-{number}"}
    if subnet:
        held["subnet"] = subnet
    if f"six-{number}" in subnets:
        held["subnet6" if subnet else "subnet"] = f"six-{number}"
    if held["type"] in ("nat", "route") and subnet and draw(st.booleans()):
        held["forwards"] = [{"protocol": "tcp", "port": 8000 + number, "to": f"10.{number}.0.10", "to_port": 80}]
    groups = st.just([{"name": "gold", "bandwidth": {"inbound": {"average": 1000}}}])
    return {**held, **draw(_some(stp=st.booleans(), mtu=st.integers(1280, 9000), port_groups=groups))}


@st.composite
def _filter(draw: Draw, number: int) -> Raw:
    """A filter calls only those of smaller numbers, and libvirt's own."""
    known = ["clean-traffic", "allow-arp", *(f"filter-{lower}" for lower in range(number))]
    called = draw(st.lists(st.sampled_from(known), unique=True, max_size=2))
    rules = draw(st.lists(st.just({"action": "accept", "direction": "in", "protocol": "tcp"}), max_size=2))
    return {"references": [{"filter": name} for name in called], "rules": rules}


@st.composite
def _instance(draw: Draw, number: int, parts: _Parts) -> Raw:
    machines = draw(st.integers(0, 3))
    names = [f"machine-{number}-{at}" for at in range(machines)]
    cards = [draw(_card(name, parts)) for name in draw(_subset(list(parts.networks)))]
    held: Raw = {
        "project": draw(st.sampled_from(parts.projects)),
        "memory": draw(st.sampled_from(["64 MiB", "1 GiB"])),
        "disks": [draw(_disk(number, at, machines, parts)) for at in range(draw(st.integers(0, 3)))],
        "interfaces": cards,
    }
    held |= draw(_some(vcpus=st.integers(1, 8), enabled=st.booleans(), tablet=st.booleans(), label=st.just("机器")))
    if cards or draw(st.booleans()):
        return {**held, "vms": {name: draw(_vm(number, at, cards, parts)) for at, name in enumerate(names)}}
    return {**held, "count": machines}


def _subset(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True, max_size=2) if names else st.just([])


@st.composite
def _card(draw: Draw, network: str, parts: _Parts) -> Raw:
    groups = parts.networks[network].get("port_groups")
    fields: dict[str, st.SearchStrategy[Any]] = {
        "model": st.sampled_from(["virtio", "e1000"]),
        "boot_rom": st.booleans(),
    }
    if groups:
        fields["port_group"] = st.just(groups[0]["name"])
    if parts.groups:
        fields["security_group"] = st.sampled_from(parts.groups)
    return {"network": network, **draw(_some(**fields))}


@st.composite
def _disk(draw: Draw, number: int, at: int, machines: int, parts: _Parts) -> Raw:
    """A declared volume goes to one machine; the other sources suit any number."""
    own = {"pool": draw(st.sampled_from(parts.pools)), "capacity": "1 GiB"}
    sources: list[Raw] = [own, {"device": "cdrom"}]
    if parts.images:
        image = draw(st.sampled_from(parts.images))
        sources += [{"image": image}, {"image": image, "device": "cdrom"}, {**own, "image": image}]
    if machines == 1:
        sources.append({"volume": f"volume-{number}-{at}"})
    chosen = draw(st.sampled_from(sources))
    if "volume" in chosen:
        parts.volumes[chosen["volume"]] = own
    return {**chosen, **draw(_some(cache=st.sampled_from(["none", "writeback"])))}


@st.composite
def _vm(draw: Draw, number: int, at: int, cards: list[Raw], parts: _Parts) -> Raw | None:
    held: Raw = draw(_some(power=st.sampled_from(["on", "off"]), label=st.just("虚拟机")))
    for place, card in enumerate(cards):
        network = card["network"]
        if draw(st.booleans()):
            held.setdefault("mac", {})[network] = f"52:54:aa:{number:02x}:{at:02x}:{place:02x}"
        for subnet in (parts.networks[network].get(field) for field in ("subnet", "subnet6")):
            if subnet is not None and draw(st.booleans()):
                address = parts.subnets[subnet]["address"]
                six, last = ":" in address, 10 + number * 10 + at
                own = f"{address.removesuffix('/64')}{last}" if six else address.replace(".0/24", f".{last}")
                held.setdefault("ip6" if six else "ip", {})[network] = own
    return held or None
