# SPDX-License-Identifier: GPL-3.0-or-later
"""`<network>`: how one is written, read back, and compared; see https://libvirt.org/formatnetwork.html."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..model.network import (
    Bandwidth,
    Dhcp,
    DhcpHost,
    Dns,
    DnsSrv,
    Nat,
    Network,
    PortGroup,
    Rate,
    Route,
    Subnet,
    Vlan,
)
from .build import E, maybe, on_off
from .common import METADATA, absent, flag, lower, mark_element, mark_of, number, pruned
from .merge import laid_over
from .shape import Attr, Shape, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def render(network: Network) -> Element:
    """The XML of a declared network."""
    forward = network.forward if network.forward != "none" else None
    element = E(
        "network",
        E("name", network.name),
        network.uuid and E("uuid", network.uuid),
        mark_element(network.mark),
        forward and _forward(network),
        None if network.devices else _bridge(network),
        network.virtual_port and E("virtualport", type=network.virtual_port),
        vlan(network.vlan),
        network.mac and E("mac", address=network.mac),
        network.mtu and E("mtu", size=network.mtu),
        services(network.domain, network.domain_local, network.dns, network.subnets),
        (_route(route) for route in network.routes),
        bandwidth(network.bandwidth) if network.bandwidth else None,
        (_port_group(group) for group in network.port_groups),
        ipv6=network.ipv6 or None,
    )
    return laid_over(element, network.xml, SHAPE)


def _forward(network: Network) -> Element:
    pool = (E("interface", dev=device) for device in network.devices)
    return E("forward", nat(network.nat), pool, mode=network.forward, dev=network.device)


def vlan(ports: Vlan | None) -> Element | None:
    """The VLANs of a network, a port group or an interface."""
    if ports is None:
        return None
    tags = (E("tag", id=tag.id, nativeMode=tag.native_mode) for tag in ports.tags)
    return E("vlan", tags, trunk=ports.trunk or None)


def _bridge(network: Network) -> Element | None:
    if network.forward == "bridge":
        return E("bridge", name=network.bridge)
    return E("bridge", name=network.bridge, stp=on_off(network.stp), delay=network.delay)


def nat(ranges: Nat | None) -> Element | None:
    """What a network or a gateway translates to."""
    if ranges is None:
        return None
    addresses, ports = ranges.addresses, ranges.ports
    return E(
        "nat",
        E("address", start=addresses.start, end=addresses.end) if addresses else None,
        E("port", start=ports.start, end=ports.end) if ports else None,
        ipv6=ranges.ipv6 or None,
    )


def services(domain: str | None, domain_local: bool, dns: Dns | None, subnets: Iterable[Subnet]) -> Iterator[Element]:
    """What a host offers on a network: names, addresses, boot images."""
    if domain:
        yield E("domain", name=domain, localOnly=domain_local or None)
    if dns:
        yield _dns(dns)
    yield from map(_ip, subnets)


def _ip(subnet: Subnet) -> Element:
    family = "ipv6" if subnet.address.version == 6 else "ipv4"
    return E(
        "ip",
        subnet.tftp and E("tftp", root=subnet.tftp),
        _dhcp(subnet.dhcp) if subnet.dhcp else None,
        family=family,
        address=subnet.address.ip,
        prefix=subnet.address.prefix,
    )


def _dhcp(dhcp: Dhcp) -> Element:
    return E(
        "dhcp",
        (E("range", start=span.start, end=span.end) for span in dhcp.ranges),
        (dhcp_host(host) for host in dhcp.hosts),
        maybe("bootp", file=dhcp.boot_file, server=dhcp.boot_server),
    )


def dhcp_host(host: DhcpHost) -> Element:
    """One reservation, as `virNetworkUpdate` takes it too."""
    return E("host", mac=host.mac, name=host.name, ip=host.ip)


def _dns(dns: Dns) -> Element:
    return E(
        "dns",
        (E("forwarder", addr=address) for address in dns.forwarders),
        (E("txt", name=txt.name, value=txt.value) for txt in dns.txt),
        (E("host", (E("hostname", name) for name in host.names), ip=host.ip) for host in dns.hosts),
        (_srv(srv) for srv in dns.srv),
        enable=None if dns.enabled else False,
        forwardPlainNames=None if dns.forward_plain_names else False,
    )


def _srv(srv: DnsSrv) -> Element:
    return E(
        "srv",
        service=srv.service,
        protocol=srv.protocol,
        domain=srv.domain,
        target=srv.target,
        port=srv.port,
        priority=srv.priority,
        weight=srv.weight,
    )


def _route(route: Route) -> Element:
    family = "ipv6" if route.to.version == 6 else "ipv4"
    destination, prefix = route.to.network.network_address, route.to.prefix
    return E("route", family=family, address=destination, prefix=prefix, gateway=route.via, metric=route.metric)


def bandwidth(limits: Bandwidth) -> Element:
    """Limits of a network, a port group or an interface."""
    return E("bandwidth", _rate("inbound", limits.inbound), _rate("outbound", limits.outbound))


def _rate(direction: str, rate: Rate | None) -> Element | None:
    return E(direction, average=rate.average, peak=rate.peak, burst=rate.burst) if rate else None


def _port_group(group: PortGroup) -> Element:
    return E(
        "portgroup",
        bandwidth(group.bandwidth) if group.bandwidth else None,
        vlan(group.vlan),
        name=group.name,
        default=group.default or None,
    )


def _prefix_from_netmask(element: Element) -> None:
    # libvirt echoes whichever of netmask and prefix it was given, and nothing for a classful address; we write prefix.
    address, netmask = element.get("address", ""), element.attrib.pop("netmask", None)
    if netmask is not None:
        element.set("prefix", str(ipaddress.ip_network(f"0.0.0.0/{netmask}").prefixlen))
    elif element.get("prefix") is None and address:
        parsed = ipaddress.ip_address(address)
        first = int(str(parsed).split(".")[0]) if parsed.version == 4 else 0
        element.set("prefix", "128" if parsed.version == 6 else "8" if first < 128 else "16" if first < 192 else "24")


def _chosen_of_pool(forward: Element, declared: Element) -> bool:
    # Of the interfaces of macvtap, libvirt names the first once more beside the mode.
    return forward.find("interface") is not None and declared.find("interface") is not None


def _echo_of_device(interface: Element, declared: Element) -> bool:
    # With dev given, libvirt lists the same interface once more.
    return declared.find("interface") is None


VLAN = shape(
    "vlan",
    Attr("trunk", default="no"),
    shape("tag", Attr("id"), Attr("nativeMode", field="native_mode"), key="@id", field="tags"),
)
RATE = (Attr("average"), Attr("peak"), Attr("burst"), Attr("floor"))
BANDWIDTH = shape("bandwidth", shape("inbound", *RATE), shape("outbound", *RATE))

# What a host offers on a network; a gateway says the same.
SERVICES = (
    shape("domain", Attr("name", field="domain"), Attr("localOnly", field="domain_local", default="no"), field="."),
    shape(
        "dns",
        Attr("enable", field="enabled", default="yes"),
        Attr("forwardPlainNames", field="forward_plain_names", default="yes"),
        shape("forwarder", Attr("addr"), Attr("domain"), key=("@addr", "@domain"), field="forwarders", ordered=True),
        shape("txt", Attr("name"), Attr("value"), key="@name"),
        shape("host", Attr("ip"), shape("hostname", key="."), key="@ip", field="hosts"),
        shape(
            "srv",
            *(Attr(name) for name in ("service", "protocol", "domain", "target", "port", "priority", "weight")),
            key=("@service", "@protocol", "@domain", "@target", "@port"),
        ),
    ),
    shape(
        "ip",
        Attr("family", default="ipv4"),
        Attr("address"),
        Attr("prefix"),
        Attr("localPtr", default="no"),
        shape("tftp", Attr("root", field="tftp"), field="."),
        shape(
            "dhcp",
            shape("range", Attr("start"), Attr("end"), key=("@start", "@end"), field="ranges"),
            shape(
                "host",
                Attr("mac", canon=lower),
                Attr("name"),
                Attr("ip"),
                Attr("id"),
                key="@mac|@id|@name",
                field="hosts",
            ),
            shape("bootp", Attr("file", field="boot_file"), Attr("server", field="boot_server"), field="."),
        ),
        key=("@family", "@address"),
        field="subnets",
        tidy=_prefix_from_netmask,
    ),
)

SHAPE = shape(
    "network",
    Attr("ipv6", default="no"),
    Attr("connections", computed=True),  # how many interfaces are plugged in: a fact of the moment
    Attr("trustGuestRxFilters", default="no"),
    shape("name"),
    shape("uuid", computed=True),
    METADATA,
    shape(
        "forward",
        Attr("mode", field="forward"),
        Attr("dev", field="device", computed=_chosen_of_pool),
        shape(
            "nat",
            Attr("ipv6", default="no"),
            shape("address", Attr("start"), Attr("end"), field="addresses"),
            # libvirt writes the range it would use anyway
            shape("port", Attr("start", default="1024"), Attr("end", default="65535"), field="ports"),
        ),
        shape(
            "interface",
            Attr("dev"),
            Attr("connections", computed=True),
            key="@dev",
            computed=_echo_of_device,
            field="devices",
        ),
        field=".",
    ),
    shape(
        "bridge",
        Attr("name", field="bridge", computed=True),
        Attr("stp", default="on"),
        Attr("delay", default="0"),
        Attr("macTableManager", computed=True),
        Attr("zone", computed=True),
        computed=True,
        field=".",
    ),
    shape("mac", Attr("address", field="mac", canon=lower, computed=True), computed=True, field="."),
    shape("mtu", Attr("size", field="mtu"), field="."),
    shape("virtualport", Attr("type", field="virtual_port"), field="."),
    VLAN,
    *SERVICES,
    shape(
        "route",
        Attr("family", default="ipv4"),
        *(Attr(name) for name in ("address", "prefix", "gateway", "metric")),
        key=("@family", "@address", "@prefix"),
        field="routes",
        tidy=_prefix_from_netmask,
    ),
    BANDWIDTH,
    shape(
        "portgroup",
        Attr("name"),
        Attr("default", default="no"),
        Attr("trustGuestRxFilters", default="no"),
        BANDWIDTH,
        VLAN,
        key="@name",
        field="port_groups",
    ),
)


def parse(element: Element) -> dict[str, Any]:
    """What a `Network` must declare to render like the normalised `element`; the inverse of `render`."""
    forward, bridge = element.find("forward"), element.find("bridge")
    pool = [] if forward is None or bridge is not None else [held.get("dev") for held in forward.iterfind("interface")]
    return pruned(
        name=element.findtext("name"),
        uuid=element.findtext("uuid"),
        mark=mark_of(element),
        ipv6=flag(element.get("ipv6")),
        forward="none" if forward is None else forward.get("mode", "nat"),
        device=None if pool else absent(forward, "dev"),
        devices=pool,
        virtual_port=absent(element.find("virtualport"), "type"),
        vlan=read_vlan(element.find("vlan")),
        nat=read_nat(element.find("forward/nat")),
        bridge=absent(bridge, "name"),
        stp=None if bridge is None else flag(bridge.get("stp")),
        delay=None if bridge is None or bridge.get("delay") is None else int(bridge.get("delay", "0")),
        mac=absent(element.find("mac"), "address"),
        mtu=number(element.find("mtu"), "size"),
        **read_services(element),
        routes=[_read_route(route) for route in element.iterfind("route")],
        bandwidth=read_bandwidth(element.find("bandwidth")),
        port_groups=[
            pruned(
                name=group.get("name"),
                default=flag(group.get("default")),
                bandwidth=read_bandwidth(group.find("bandwidth")),
                vlan=read_vlan(group.find("vlan")),
            )
            for group in element.iterfind("portgroup")
        ],
    )


def read_services(element: Element) -> dict[str, Any]:
    """What is offered, as `Network` and `Gateway` take it."""
    domain = element.find("domain")
    return pruned(
        domain=absent(domain, "name"),
        domain_local=None if domain is None else domain.get("localOnly") == "yes",
        dns=_read_dns(element.find("dns")),
        subnets=[_read_ip(ip) for ip in element.iterfind("ip")],
    )


def read_nat(element: Element | None) -> dict[str, Any] | None:
    """The ranges of a translation, as `Nat` takes them."""
    if element is None:
        return None
    addresses, ports = element.find("address"), element.find("port")
    return pruned(
        ipv6=flag(element.get("ipv6")),
        addresses=None if addresses is None else dict(addresses.attrib),
        ports=None
        if ports is None
        else {"start": int(ports.get("start", "1024")), "end": int(ports.get("end", "65535"))},
    )


def _read_ip(element: Element) -> dict[str, Any]:
    dhcp, bootp = element.find("dhcp"), element.find("dhcp/bootp")
    return pruned(
        address=f"{element.get('address')}/{element.get('prefix')}",
        tftp=absent(element.find("tftp"), "root"),
        dhcp=None
        if dhcp is None
        else pruned(
            ranges=[{"start": span.get("start"), "end": span.get("end")} for span in dhcp.iterfind("range")],
            hosts=[
                pruned(mac=host.get("mac"), name=host.get("name"), ip=host.get("ip")) for host in dhcp.iterfind("host")
            ],
            boot_file=absent(bootp, "file"),
            boot_server=absent(bootp, "server"),
        ),
    )


def _read_route(element: Element) -> dict[str, Any]:
    to = f"{element.get('address')}/{element.get('prefix')}"
    return pruned(to=to, via=element.get("gateway"), metric=number(element, "metric"))


def _read_dns(element: Element | None) -> dict[str, Any] | None:
    if element is None:
        return None
    numbers = ("port", "priority", "weight")
    return pruned(
        enabled=flag(element.get("enable")),
        forward_plain_names=element.get("forwardPlainNames") != "no",
        forwarders=[held.get("addr") for held in element.iterfind("forwarder")],
        txt=[{"name": txt.get("name"), "value": txt.get("value")} for txt in element.iterfind("txt")],
        hosts=[
            {"ip": host.get("ip"), "names": [name.text for name in host.iterfind("hostname")]}
            for host in element.iterfind("host")
        ],
        srv=[
            {name: int(value) if name in numbers else value for name, value in srv.attrib.items()}
            for srv in element.iterfind("srv")
        ],
    )


def read_bandwidth(element: Element | None) -> dict[str, Any] | None:
    """The limits of a network, a port group or an interface, as `Bandwidth` takes them."""
    if element is None:
        return None
    rates = {side: element.find(side) for side in ("inbound", "outbound")}
    return pruned(
        **{
            side: None
            if rate is None or rate.get("average") is None
            else {name: int(value) for name, value in rate.attrib.items() if name != "floor"}
            for side, rate in rates.items()
        }
    )


def read_vlan(element: Element | None) -> dict[str, Any] | None:
    """The VLANs of a network, a port group or an interface, as `Vlan` takes them."""
    if element is None:
        return None
    tags = [pruned(id=number(tag, "id"), native_mode=tag.get("nativeMode")) for tag in element.iterfind("tag")]
    return pruned(tags=tags, trunk=flag(element.get("trunk")))


__all__ = [
    "SERVICES", "SHAPE", "Shape", "bandwidth", "dhcp_host", "nat", "parse", "read_bandwidth", "read_nat", "read_services",
    "read_vlan", "render", "services", "vlan",
]  # fmt: skip
