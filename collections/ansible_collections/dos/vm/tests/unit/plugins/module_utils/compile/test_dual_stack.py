# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of both families: what a host holds of them, and who reaches whom over which (LIMIT-18, NET-15)."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
import yaml

from dosvm.compile.packet import Packet, verdicts
from dosvm.compile.predefined import FILTERS
from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.hypervisor.gateway_files import files
from dosvm.model.types import Mac
from dosvm.site.load import load
from dosvm.xml.gateway import render

SITE = """
dos_projects: {p: {}}
dos_subnets:
  four: {address: 10.0.0.0/24, gateway: 10.0.0.1, dhcp: {}, dns: {domain: lan.example}}
  six: {address: "fd00:1::/64", gateway: "fd00:1::1"}
  office: {address: 10.1.0.0/24, gateway: 10.1.0.1, dhcp: {}, automatic_gateway: {interface: eth0}}
  office6:
    address: "fd00:2::/64"
    gateway: "fd00:2::1"
    dhcp: {}
    automatic_gateway: {forwards: [{protocol: tcp, port: 80, to: "fd00:2::11"}]}
dos_networks:
  lan: {type: nat, subnet: four, subnet6: six, host: h1}
  office: {type: bridge, bridge: br0, forward_interface: eth1, subnet: office, subnet6: office6}
dos_security_groups:
  web: {rules: [{protocol: tcp, ports: [80]}]}
  loose: {rules: [{protocol: tcp, ports: [80]}]}
  four: {rules: [{protocol: tcp, ports: [80], cidrs: [0.0.0.0/0]}]}
  db: {rules: [{protocol: tcp, ports: [5432], groups: [web]}]}
dos_instances:
  web:
    project: p
    memory: 64 MiB
    interfaces: [{network: lan, security_group: web, ip: 10.0.0.11, ip6: "fd00:1::11"}]
    count: 1
  half: {project: p, memory: 64 MiB, interfaces: [{network: lan, security_group: four, ip: 10.0.0.12, ip6: "fd00:1::12"}], count: 1}
  db: {project: p, memory: 64 MiB, interfaces: [{network: lan, security_group: db, ip: 10.0.0.13, ip6: "fd00:1::13"}], count: 1}
  free: {project: p, memory: 64 MiB, interfaces: [{network: lan, security_group: loose}], count: 1}
  desk:
    project: p
    memory: 64 MiB
    host: h1
    interfaces: [{network: office, ip: 10.1.0.11, ip6: "fd00:2::11"}]
    seed: {type: nocloud, network: static}
    count: 1
"""
HOSTS = ("h1", "h2")


def compiled(**more: Any) -> Compiled:
    site = load({**yaml.safe_load(SITE), **more}, hosts=HOSTS)
    facts = FakeHypervisor().facts()
    return compile_site(site, {host: HostState(facts=facts) for host in HOSTS}, now=0.0)


def refused(*said: dict[str, Any], **more: Any) -> list[str]:
    try:
        compiled(dos_assertions=list(said), **more)
    except DeclarationError as wrong:
        return [str(problem) for problem in wrong.problems]
    return []


def test_a_host_has_both_addresses_and_names_of_both() -> None:
    (lan,) = (held for held in compiled().slices["h1"].networks if held.name == "lan")
    four, six = lan.subnets
    assert (four.address, six.address) == ("10.0.0.1/24", "fd00:1::1/64")
    assert four.dhcp is not None
    assert [host.ip for host in four.dhcp.hosts] == ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
    assert six.dhcp is None  # machines make their addresses of what the router tells
    assert lan.dns is not None
    assert [(host.ip, host.names) for host in lan.dns.hosts] == [
        ("fd00:1::11", ("web-1",)),
        ("fd00:1::12", ("half-1",)),
        ("fd00:1::13", ("db-1",)),
    ]


def test_libvirt_is_given_no_mac_for_dhcpv6_and_our_own_gateway_is() -> None:
    subnets = {
        **yaml.safe_load(SITE)["dos_subnets"],
        "six": {"address": "fd00:1::/64", "gateway": "fd00:1::1", "dhcp": {}},
    }
    made = compiled(dos_subnets=subnets).slices["h1"]
    (lan,) = (held for held in made.networks if held.name == "lan")
    assert lan.subnets[1].dhcp is not None
    assert {(host.mac, host.name) for host in lan.subnets[1].dhcp.hosts} == {
        (None, "web-1"),
        (None, "half-1"),
        (None, "db-1"),
    }
    (gateway,) = made.gateways
    assert [subnet.address for subnet in gateway.subnets] == ["10.1.0.1/24", "fd00:2::1/64"]
    assert [one.to for one in gateway.forwards] == ["fd00:2::11"]
    settings, hosts = (files(render(gateway))[suffix] for suffix in (".conf", ".hosts"))
    assert settings.count("enable-ra") == settings.count("dhcp-hostsfile") == 1
    assert "dhcp-range=fd00:2::,static,64" in settings
    mac = made.domains[-1].interfaces[0].mac
    assert hosts == f"{mac},10.1.0.11,desk-1\n{mac},[fd00:2::11],desk-1\n"


def test_ipv6_of_a_gateway_is_announced_and_translated_when_asked_for() -> None:
    subnets = yaml.safe_load(SITE)["dos_subnets"]
    subnets["office"]["automatic_gateway"]["nat"] = {"ipv6": True}
    del subnets["office6"]["dhcp"]
    (gateway,) = compiled(dos_subnets=subnets).slices["h1"].gateways
    made = files(render(gateway))
    assert "dhcp-range=fd00:2::,ra-only,64" in made[".conf"]
    assert "ip6 saddr fd00:2::/64 ip6 daddr != { fd00:2::/64, ff00::/8 } masquerade" in made[".nft"]
    assert 'oifname "br0" reject' in made[".nft"]


def test_a_seed_has_both_addresses() -> None:
    seed = next(domain.seed for domain in compiled().slices["h1"].domains if domain.name == "desk-1")
    assert seed is not None
    (card,) = yaml.safe_load(seed.files["network-config"])["ethernets"].values()
    assert card["addresses"] == ["10.1.0.11/24", "fd00:2::11/64"]
    assert card["routes"] == [{"to": "default", "via": "10.1.0.1"}, {"to": "::/0", "via": "fd00:2::1"}]
    assert "dhcp4" not in card


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"from": "free", "to": "web", "port": 80}, None),
        ({"from": "web", "to": "db", "port": 5432}, None),
        ({"from": "half", "to": "db", "port": 5432, "expect": False}, None),
        ({"from": "free", "to": "half", "port": 80}, "over IPv6, filter sg.four.46 of half-1 drops it (in)"),
        ({"from": "free", "to": "half", "port": 80, "expect": False}, "over IPv4, both are on network lan"),
        ({"from": "192.0.2.1", "to": "web", "port": 80, "expect": False}, None),
        ({"from": "2001:db8::1", "to": "web", "port": 80}, None),  # IPv6 is routed, not translated (NET-15)
        ({"from": "web", "to": "2001:db8::1", "port": 80}, None),
    ],
    ids=str,
)
def test_an_assertion_is_about_both_families(said: dict[str, Any], wrong: str | None) -> None:
    found = refused(said)
    assert (wrong is None) == (found == [])
    assert wrong is None or wrong in found[0]


def test_translated_ipv6_is_not_reached_from_outside() -> None:
    networks = yaml.safe_load(SITE)["dos_networks"]
    networks["lan"]["nat"] = {"ipv6": True}
    said = {"from": "2001:db8::1", "to": "web", "port": 80}
    assert "is behind NAT" in refused(said, dos_networks=networks)[0]


@pytest.mark.parametrize(
    ("machine", "source", "passes"),
    [
        ("web-1", "fd00:1::11", True),
        ("web-1", "fd00:1::99", False),
        ("web-1", "fe80::1", True),
        ("free-1", "fd00:1::99", True),  # makes its address itself, anywhere in the subnet
        ("free-1", "fd00:2::99", False),
    ],
)
def test_nobody_sends_from_an_address_that_is_not_his(machine: str, source: str, passes: bool) -> None:
    slice_ = compiled().slices["h1"]
    (card,) = next(domain.interfaces for domain in slice_.domains if domain.name == machine)
    filters = {**FILTERS, **{str(held.name): held for held in slice_.nwfilters}}
    packet = Packet(
        direction="out", protocol="tcp", port=80, family=6, mac=Mac(str(card.mac)),
        source=ipaddress.ip_network(source), target=ipaddress.ip_network("fd00:9::9"),
    )  # fmt: skip
    assert verdicts(str(card.filter), filters, card.filter_parameters or {}, packet) == {passes}
