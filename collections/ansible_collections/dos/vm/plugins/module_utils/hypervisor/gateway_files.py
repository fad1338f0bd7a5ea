# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway consists of on its host, as texts: a script, the settings of dnsmasq, and rules for nftables.

See dnsmasq(8), nft(8). Reservations and names are in files that dnsmasq reads again when told to, so that a machine more or
less is none of the others' business.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..model.decode import decode
from ..model.gateway import Gateway, PortForward
from ..model.network import Dhcp, DnsSrv, Subnet
from ..xml.gateway import parse

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ETC = "/etc/dos-vm/gateways"
RUN = "/run/dos-vm/gateways"
LEASES = "/var/lib/dos-vm/gateways"
HOOKS = "/etc/libvirt/hooks/network.d"  # https://libvirt.org/hooks.html

SCRIPT = """\
#!/bin/sh
# Made by dos.vm for the gateway of network {name}; what is written here is lost.
set -e
export DOS_NETWORK={name} DOS_BRIDGE={bridge} DOS_ADDRESSES={addresses}
alive() {{ kill -0 "$(cat {run}/{name}.pid 2>/dev/null)" 2>/dev/null; }}
halt() {{ ! alive || kill "$(cat {run}/{name}.pid)"; for wait in 1 2 3 4 5 6 7 8 9 10; do alive || break; sleep 0.1; done; rm -f {run}/{name}.pid; }}
# Addresses are noted, so that what was ours can be told from what was not: LINK ADDRESS/PREFIX, a line each.
forget() {{
  [ -e {run}/{name}.addresses ] || return 0
  while read -r link address; do
    case "$1" in *"<$link $address>"*) ;; *) ip address del "$address" dev "$link" 2>/dev/null || true ;; esac
  done <{run}/{name}.addresses
}}
case "$1" in
start)
  mkdir -p {run} {leases}
  forget {kept}
  printf '%s' {noted} >{run}/{name}.addresses
{start}
  ;;
stop)
  failed=0
  [ ! -e {run}/{name}.xml ] || [ ! -e {etc}/{name}.stop ] || sh {etc}/{name}.stop || failed=$?
  halt
  nft delete table inet {table} 2>/dev/null || true
{stop}
  forget ''
  rm -f {run}/{name}.xml {run}/{name}.conf {run}/{name}.addresses
  [ "$failed" = 0 ] || {{ echo "the stop script ended with $failed" >&2; exit 1; }}
  ;;
esac
"""


def files(definition: Element) -> Mapping[str, str]:
    """All that lies beside the definition, by suffix."""
    gateway = decode(Gateway, parse(definition))
    found = {"": _script(gateway), ".nft": "\n".join(_rules(gateway)) + "\n"}
    if serves(gateway):
        found[".conf"] = "\n".join(_settings(gateway)) + "\n"
        found[".hosts"] = "".join(f"{line}\n" for line in _reservations(gateway))
        found[".names"] = "".join(f"{line}\n" for line in _names(gateway))
    found |= {f".{name}": text for name in ("start", "stop") if (text := getattr(gateway, name))}
    return found


def serves(gateway: Gateway) -> bool:
    """Whether there is something for dnsmasq to do."""
    if gateway.only_forwards:
        return False
    offers = any(held.dhcp or held.tftp or held.address.version == 6 for held in gateway.subnets)
    return offers or gateway.dns is None or gateway.dns.enabled


def carried(gateway: Gateway) -> list[tuple[str, str]]:
    """The addresses it brings along, each with the interface it is put on."""
    mine = () if gateway.only_forwards else gateway.subnets
    own = [(str(gateway.bridge), str(subnet.address)) for subnet in mine]
    outside = {held.address: None for held in gateway.forwards if held.address}
    return own + [(str(gateway.device), f"{address}/{address.ip.max_prefixlen}") for address in outside]


def table(name: str) -> str:
    """The name of its table; one of nftables has no hyphens."""
    return f"dos_gw_{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def opens(gateway: Gateway) -> list[str]:
    """The programs whose rules must let its services through: libvirt's own refuse whoever comes from outside."""
    versions = {held.to.version for held in gateway.forwards} if gateway.only_forwards else ()
    return [tool for version, tool in ((4, "iptables"), (6, "ip6tables")) if version in versions]


def passes(gateway: Gateway) -> list[str]:
    """The rule that does it. Not in libvirt's chains, which it writes anew, and before those."""
    match = ["-o", str(gateway.bridge), "-m", "conntrack", "--ctstate", "DNAT"]
    return ["FORWARD", *match, "-m", "comment", "--comment", f"dos.vm {table(gateway.name)}", "-j", "ACCEPT"]


def _hook(gateway: Gateway) -> str:
    return f"{HOOKS}/dos-vm-{gateway.name}"


def _opening(gateway: Gateway) -> Iterator[str]:
    """libvirt puts its chains first when it starts, which may be after us: then its hook does it again."""
    rule = shlex.join(passes(gateway))
    first = [f"{tool} -w -D {rule} 2>/dev/null; {tool} -w -I {rule}" for tool in opens(gateway)]
    for tool in opens(gateway):
        yield f"{tool} -w -C {rule} 2>/dev/null || {tool} -w -I {rule}"
    if first:
        lines = ["#!/bin/sh", f'[ "$1 $2" = {shlex.quote(f"{gateway.name} started")} ] || exit 0', *first]
        yield f"mkdir -p {HOOKS}"
        yield f"printf '%s\\n' {' '.join(shlex.quote(line) for line in lines)} >{_hook(gateway)}"
        yield f"chmod 755 {_hook(gateway)}"


def _closing(gateway: Gateway) -> Iterator[str]:
    if gateway.only_forwards:
        yield f"rm -f {_hook(gateway)}"
        for tool in ("iptables", "ip6tables"):
            yield f"{tool} -w -D {shlex.join(passes(gateway))} 2>/dev/null || true"


def _script(gateway: Gateway) -> str:
    held = carried(gateway)
    return SCRIPT.format(
        name=gateway.name,
        bridge=gateway.bridge,
        addresses=shlex.quote(" ".join(str(subnet.address) for subnet in gateway.subnets)),
        run=RUN,
        leases=LEASES,
        etc=ETC,
        table=table(gateway.name),
        kept=shlex.quote("".join(f"<{link} {address}>" for link, address in held)),
        noted=shlex.quote("".join(f"{link} {address}\n" for link, address in held)),
        start="\n".join(f"  {line}" for line in _start(gateway)),
        stop="\n".join(f"  {line}" for line in _closing(gateway)),
    )


def _start(gateway: Gateway) -> Iterator[str]:
    name = gateway.name
    if not gateway.only_forwards:
        yield f"ip link set dev {shlex.quote(str(gateway.bridge))} up"
    for link, address in carried(gateway):
        yield f"ip address replace {shlex.quote(address)} dev {shlex.quote(link)}"
    if gateway.forward != "none" and not gateway.only_forwards:
        for version in sorted({subnet.address.version for subnet in gateway.subnets}):
            switch = "ipv4/ip_forward" if version == 4 else "ipv6/conf/all/forwarding"
            yield f'[ "$(cat /proc/sys/net/{switch})" = 1 ] || echo 1 >/proc/sys/net/{switch}'
    yield f"nft -f {ETC}/{name}.nft"
    yield from _opening(gateway)
    if serves(gateway):
        # Its settings are read once; the files of hosts and names whenever it is asked.
        yield f'if alive && cmp -s {ETC}/{name}.conf {RUN}/{name}.conf; then kill -HUP "$(cat {RUN}/{name}.pid)"; else'
        yield f"  halt; cp {ETC}/{name}.conf {RUN}/{name}.conf; dnsmasq --conf-file={ETC}/{name}.conf </dev/null"
        yield "fi"
    else:
        yield "halt"
    if gateway.start:
        yield f'[ -e {RUN}/{name}.xml ] || sh {ETC}/{name}.start || {{ echo "the start script ended with $?" >&2; exit 1; }}'
    yield f"cp {ETC}/{name}.xml {RUN}/{name}.xml"


# dnsmasq


def _settings(gateway: Gateway) -> Iterator[str]:
    name, dns = gateway.name, gateway.dns
    yield "# Made by dos.vm; what is written here is lost."
    yield f"pid-file={RUN}/{name}.pid"
    yield "bind-dynamic"
    yield f"interface={gateway.bridge}"
    yield "except-interface=lo"
    yield "no-hosts"
    yield "dhcp-authoritative"  # a gateway that moved knows no leases, and its clients have some
    yield f"dhcp-leasefile={LEASES}/{name}.leases"
    if dns is not None and not dns.enabled:
        yield "port=0"
    else:
        yield f"addn-hosts={ETC}/{name}.names"
        yield from _answers(gateway)
    if any(subnet.address.version == 6 for subnet in gateway.subnets):
        yield "enable-ra"
    if any(subnet.dhcp for subnet in gateway.subnets):
        yield f"dhcp-hostsfile={ETC}/{name}.hosts"
    for subnet in gateway.subnets:
        yield from _dhcp(subnet, subnet.dhcp) if subnet.dhcp else _announced(subnet)
        if subnet.tftp:
            yield "enable-tftp"
            yield f"tftp-root={subnet.tftp}"


def _answers(gateway: Gateway) -> Iterator[str]:
    dns = gateway.dns
    if gateway.domain:
        yield f"domain={gateway.domain}"
        yield "expand-hosts"
        if gateway.domain_local:
            yield f"local=/{gateway.domain}/"
    if dns is None or not dns.forward_plain_names:
        yield "domain-needed"
        yield "local=//"
    if dns is None:
        return
    if dns.forwarders:
        yield "no-resolv"
        yield from (f"server={address}" for address in dns.forwarders)
    yield from (f"txt-record={held.name},{_quoted(held.value)}" for held in dns.txt)
    yield from (f"srv-host={_srv(held)}" for held in dns.srv)


def _srv(held: DnsSrv) -> str:
    domain = f".{held.domain}" if held.domain else ""
    numbers = [held.port, held.priority, held.weight]
    while numbers and numbers[-1] is None:
        numbers.pop()
    target = [held.target, *numbers] if held.target else []
    return ",".join([f"_{held.service}._{held.protocol}{domain}", *("" if one is None else str(one) for one in target)])


def _quoted(text: str) -> str:
    """A text that may have commas and quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _announced(subnet: Subnet) -> Iterator[str]:
    """Without DHCPv6 machines make their addresses themselves, of the network that the router tells them (RFC 4862)."""
    network = subnet.address.network
    if network.version == 6:
        yield f"dhcp-range={network.network_address},ra-only,{network.prefixlen}"


def _dhcp(subnet: Subnet, dhcp: Dhcp) -> Iterator[str]:
    network, six = subnet.address.network, subnet.address.version == 6
    size = network.prefixlen if six else network.netmask
    for span in dhcp.ranges:
        yield f"dhcp-range={span.start},{span.end},{size}"
    if not dhcp.ranges:
        # Who has a reservation gets its address, and nobody else one.
        yield f"dhcp-range={network.network_address},static,{size}"
    if dhcp.boot_file:
        yield f"dhcp-boot={dhcp.boot_file}" + (f",,{dhcp.boot_server}" if dhcp.boot_server else "")


def _reservations(gateway: Gateway) -> Iterator[str]:
    for subnet in gateway.subnets:
        for host in subnet.dhcp.hosts if subnet.dhcp else ():
            address = f"[{host.ip}]" if host.ip.version == 6 else str(host.ip)
            who = [host.mac, address, host.name] if host.mac else [host.name, address]
            yield ",".join(str(part) for part in who if part)


def _names(gateway: Gateway) -> Iterator[str]:
    for host in gateway.dns.hosts if gateway.dns else ():
        yield f"{host.ip} {' '.join(host.names)}"


# nftables


def _rules(gateway: Gateway) -> Iterator[str]:
    """Replaced in one step, so that no packet meets half of them; connections that are known stay known."""
    held = table(gateway.name)
    yield f"# Made by dos.vm for the gateway of network {gateway.name}; what is written here is lost."
    yield f"table inet {held} {{}}"
    yield f"delete table inet {held}"
    yield f"table inet {held} {{"
    yield "  chain forward {"
    yield "    type filter hook forward priority filter; policy accept;"
    yield from (f"    {rule}" for rule in _passing(gateway))
    yield "  }"
    if gateway.forwards:
        yield "  chain prerouting {"
        yield "    type nat hook prerouting priority dstnat; policy accept;"
        yield from (f"    {_forwarded(gateway, one)}" for one in gateway.forwards)
        yield "  }"
    yield "  chain postrouting {"
    yield "    type nat hook postrouting priority srcnat; policy accept;"
    yield from (f"    {rule}" for rule in _translated(gateway))
    yield "  }"
    yield "}"


def _passing(gateway: Gateway) -> Iterator[str]:
    """NET-14, NET-16: what stays inside is free; what comes from outside is an answer, or goes to a service."""
    if gateway.only_forwards:
        return  # libvirt's affair
    bridge = f'"{gateway.bridge}"'
    yield f"iifname {bridge} oifname {bridge} accept"
    if gateway.forward == "none":
        yield f"iifname {bridge} reject"
        yield f"oifname {bridge} reject"
        return
    if gateway.device:
        yield f'iifname {bridge} oifname != "{gateway.device}" reject'
        yield f'oifname {bridge} iifname != "{gateway.device}" reject'
    yield f"oifname {bridge} ct state established,related accept"
    yield f"oifname {bridge} ct status dnat accept"
    if gateway.forward == "nat":
        # IPv6 is routed, not translated, unless somebody asks for it (NET-15).
        six = gateway.nat is not None and gateway.nat.ipv6
        yield f"oifname {bridge} reject" if six else f"oifname {bridge} meta nfproto ipv4 reject"


def _forwarded(gateway: Gateway, held: PortForward) -> str:
    family = "ip6" if held.to.version == 6 else "ip"
    where = f"{family} daddr {held.address}" if held.address else f'iifname != "{gateway.bridge}" fib daddr type local'
    port = f" {held.protocol} dport {held.port}" if held.port else ""
    port = port or (f" meta l4proto {held.protocol}" if held.protocol else "")
    to = str(held.to)
    if held.to_port:
        to = f"[{to}]:{held.to_port}" if held.to.version == 6 else f"{to}:{held.to_port}"
    return f"meta nfproto ipv{held.to.version} {where}{port} dnat {family} to {to}"


def _translated(gateway: Gateway) -> Iterator[str]:
    for subnet in gateway.subnets:
        network, four = subnet.address.network, subnet.address.version == 4
        family = "ip" if four else "ip6"
        if gateway.forwards:
            # A machine that asks for a service beside it: the answer must come back through here.
            yield f"{family} saddr {network} {family} daddr {network} ct status dnat masquerade"
        if gateway.only_forwards:
            continue
        if gateway.forward == "nat" and four:
            yield from _masked(
                gateway, f"ip saddr {network} ip daddr != {{ {network}, 224.0.0.0/24, 255.255.255.255 }}"
            )
        elif gateway.forward == "nat" and gateway.nat and gateway.nat.ipv6:
            yield f"ip6 saddr {network} ip6 daddr != {{ {network}, ff00::/8 }} masquerade"


def _masked(gateway: Gateway, what: str) -> Iterator[str]:
    addresses = gateway.nat.addresses if gateway.nat else None
    ports = gateway.nat.ports if gateway.nat else None
    to = f"{addresses.start}-{addresses.end}" if addresses and addresses.start != addresses.end else ""
    to = to or (str(addresses.start) if addresses else "")
    verb = "snat ip to " if addresses else "masquerade"
    if ports:
        onto = f"{verb}{to}:{ports.start}-{ports.end}" if addresses else f"masquerade to :{ports.start}-{ports.end}"
        yield f"{what} meta l4proto {{ tcp, udp }} {onto}"
    yield f"{what} {verb}{to}".rstrip()
