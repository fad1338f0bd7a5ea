# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks and filters of a host, in the operator's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..errors import DeclarationError
from ..model.lenient import decode_most
from ..model.types import Cidr, Name
from ..plan.describe import READERS
from ..plan.plan import Observed
from ..site.filter import Filter
from ..site.network import Network
from ..site.subnet import Subnet
from ..xml import network as network_xml
from ..xml import nwfilter as nwfilter_xml
from ..xml.build import to_text
from ..xml.common import mark_of
from ..xml.normalize import normalize
from ..xml.residue import residue
from .network import FORWARD, compile_network
from .nwfilter import compile_nwfilter
from .register import Register

TYPES = {forward: kind for kind, forward in FORWARD.items() if kind != "ovs"}
SAME = ("bridge", "stp", "mtu", "vlan", "ipv6", "bandwidth", "routes", "port_groups", "nat")
ISOLATED = {"type": "isolated"}


def export_network(register: Register, host: str, observed: Observed) -> None:
    """A network, and the subnets of its first addresses."""
    address, reader = observed.address, READERS["network"]
    try:
        name = Name(address.name)
        read = reader.parse(normalize(observed.xml, reader.shape), address)
        network, subnets = _declared(register, host, name, read, observed)
    except (DeclarationError, ValueError) as refused:
        register.leave_out(host, address, f"cannot be declared: {' '.join(str(refused).split())}")
        return
    twice = "another host has a network of this name that differs"
    if any(register.held["subnets"].get(own) not in (None, subnet) for own, subnet in subnets.items()):
        register.leave_out(host, address, twice)
        return
    if not register.add(host, address, "networks", name, network, twice):
        return
    for own, subnet in subnets.items():
        register.claim("subnets", own, subnet)
    if not observed.active:
        register.note(host, address, "is not active; declared networks are started once they are ours")


def _declared(
    register: Register, host: str, name: Name, read: Any, observed: Observed
) -> tuple[Network, dict[Name, Subnet]]:
    """By its fields as far as they go; where they cannot stand together, by its overlay alone."""
    # An address that another subnet has as well is no subnet of a site; the overlay says it.
    subnets = {own: held for own, held in _subnets(name, read) if ("subnets", str(own)) not in register.refusals}
    try:
        network = decode_most(Network, _network(host, name, read, observed, list(subnets)), ISOLATED)
        return _with_overlay(register, name, network, subnets, observed), subnets
    except DeclarationError:
        network = decode_most(Network, {**ISOLATED, "host": host, "autostart": observed.autostart})
        return _with_overlay(register, name, network, {}, observed), {}


def _network(host: str, name: Name, read: Any, observed: Observed, subnets: list[Name]) -> dict[str, Any]:
    mark = mark_of(observed.xml) or {}
    forward = read.get("forward", "none")
    return {
        **_kind(read, forward),
        "host": host,
        "autostart": observed.autostart,
        **dict(zip(("subnet", "subnet6"), subnets, strict=False)),
        **({"forward_interface": read["device"]} if read.get("device") else {}),
        **({"delay_ms": read["delay"] * 1000} if read.get("delay") else {}),
        **({"project": mark["project"]} if mark.get("project") else {}),
        **{field: read[field] for field in SAME if field in read},
    }


def _kind(read: Any, forward: str) -> dict[str, Any]:
    if read.get("devices"):
        return {"type": "macvtap", "forward_interfaces": read["devices"], "macvtap_mode": forward}
    return {"type": "ovs" if read.get("virtual_port") else TYPES.get(forward, "isolated")}


def _subnets(name: Name, read: Any) -> Iterator[tuple[Name, Subnet]]:
    """The first address of each family with its services, IPv4 before IPv6; a network's others go to its overlay."""
    held = read.get("subnets", ())
    names = _names(read)
    own = name
    for version in (4, 6):
        subnet = next((found for one in held if (found := _subnet(one, version, names)) is not None), None)
        if subnet is not None:
            yield own, subnet
            own, names = Name(f"{name[:62]}-6"), {}


def _subnet(held: Any, version: int, names: dict[str, Any]) -> Subnet | None:
    try:
        address = Cidr(held["address"])
        said = {"address": str(address.network), "gateway": str(address.ip), **_services(held), **names}
        subnet = decode_most(Subnet, said) if address.version == version else None
    except (DeclarationError, ValueError):
        return None
    return None if subnet is None or subnet.gateway is None else subnet


def _services(held: Any) -> dict[str, Any]:
    dhcp = held.get("dhcp")
    found: dict[str, Any] = {"tftp": held["tftp"]} if held.get("tftp") else {}
    if dhcp is not None:
        found["pool"] = dhcp.get("ranges", [])
        boot = {name: dhcp[name] for name in ("boot_file", "boot_server") if name in dhcp}
        # What the guests have stays theirs; nobody gets an address that the host has not reserved.
        hosts = [host for host in dhcp.get("hosts", ()) if host.get("ip")]
        found["dhcp"] = {"reservations": hosts, "allocate": False, **boot}
    return found


def _names(read: Any) -> dict[str, Any]:
    """The name service of a network: one of its subnets says it."""
    dns = read.get("dns") or {"forward_plain_names": True}
    domain = {"domain": read["domain"]} if read.get("domain") else {}
    # With IPv6 there always is one, so what it does has to be said.
    if not (read.get("dns") or domain or any(":" in held["address"] for held in read.get("subnets", ()))):
        return {}
    if dns.get("enabled") is False:
        return {"dns": {**domain, "enabled": False}}
    plain = {name: value for name, value in dns.items() if value}
    return {"dns": {**domain, **plain, "forward_plain_names": dns.get("forward_plain_names") is not False}}


def _with_overlay(
    register: Register, name: Name, network: Network, subnets: dict[Name, Subnet], observed: Observed
) -> Network:
    site = register.as_site()
    site = replace(site, subnets={**site.subnets, **subnets})
    declared = replace(compile_network(site, name, network, ()), mark=None)
    patch = residue(observed.xml, network_xml.render(declared), network_xml.SHAPE)
    return network if patch is None else replace(network, xml=to_text(patch))


def export_filter(register: Register, host: str, observed: Observed) -> None:
    """A filter."""
    address, reader = observed.address, READERS["nwfilter"]
    try:
        name = Name(address.name)
        read = dict(reader.parse(normalize(observed.xml, reader.shape), address))
        read.pop("name", None)
        held = decode_most(Filter, read, also=lambda found: compile_nwfilter(name, found))
    except (DeclarationError, ValueError) as refused:
        register.leave_out(host, address, f"cannot be declared: {' '.join(str(refused).split())}")
        return
    patch = residue(observed.xml, nwfilter_xml.render(compile_nwfilter(name, held)), nwfilter_xml.SHAPE)
    if patch is not None:
        held = replace(held, xml=to_text(patch))
    register.add(host, address, "filters", name, held, "another host has a filter of this name that differs")
