# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups and what they let through, told of the compiled slices (NWF-01, NWF-10, NWF-11)."""

from __future__ import annotations

import ipaddress
from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dosvm.compile.packet import Packet, verdicts
from dosvm.compile.predefined import FILTERS
from dosvm.compile.security_group import Members, compile_group
from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.decode import decode
from dosvm.model.types import Mac, Name
from dosvm.site.load import load
from dosvm.site.security_group import SecurityGroup

HOSTS = ("h1", "h2")
SITE = """
dos_projects: {demo: {}}
dos_subnets:
  lan: {address: 10.0.0.0/24, gateway: 10.0.0.1, dhcp: {}}
  wan: {address: 192.168.7.0/24, gateway: 192.168.7.1}
  six: {address: "2001:db8::/64", gateway: "2001:db8::1"}
dos_networks:
  lan: {type: nat, subnet: lan, host: h1}
  apart: {type: isolated}
  office: {type: bridge, bridge: br0, subnet: wan}
  six: {type: route, subnet: six, host: h1}
dos_filters:
  no-telnet: {rules: [{action: drop, direction: in, protocol: tcp, match: {dstportstart: "23"}}]}
dos_security_groups:
  web: {rules: [{protocol: tcp, ports: [80, 8000-8080]}, {protocol: icmp}]}
  db: {rules: [{protocol: tcp, ports: [5432], groups: [web]}, {protocol: tcp, ports: [5432], cidrs: [10.9.0.0/16]}]}
  closed: {rules: [{direction: out, protocol: tcp, ports: [443]}]}
  raw: {filter: no-telnet}
  clean: {filter: clean-traffic}
  six: {rules: [{protocol: tcp, ports: [80]}]}
dos_instances:
  web:
    project: demo
    memory: 64 MiB
    interfaces: [{network: lan, security_group: web}]
    vms: {web-1: {ip: {lan: 10.0.0.11}}, web-2: {ip: {lan: 10.0.0.12}}}
  db: {project: demo, memory: 64 MiB, interfaces: [{network: lan, security_group: db, ip: 10.0.0.21}], vms: {db-1: {}}}
  shut: {project: demo, memory: 64 MiB, interfaces: [{network: lan, security_group: closed, ip: 10.0.0.31}], count: 1}
  old: {project: demo, memory: 64 MiB, interfaces: [{network: lan, security_group: raw, ip: 10.0.0.41}], count: 1}
  clean: {project: demo, memory: 64 MiB, interfaces: [{network: lan, security_group: clean}], count: 1}
  bare: {project: demo, memory: 64 MiB, interfaces: [{network: lan}], count: 1}
  one: {project: demo, memory: 64 MiB, host: h1, interfaces: [{network: apart}], count: 1}
  two: {project: demo, memory: 64 MiB, host: h2, interfaces: [{network: apart}], count: 1}
  desk: {project: demo, memory: 64 MiB, host: h1, interfaces: [{network: office}], count: 1}
  desk-2: {project: demo, memory: 64 MiB, host: h2, interfaces: [{network: office}], count: 1}
  six: {project: demo, memory: 64 MiB, interfaces: [{network: six, security_group: six, ip: "2001:db8::11"}], count: 1}
"""
FACTS = FakeHypervisor().facts()


def compiled(**more: Any) -> Compiled:
    site = load({**yaml.safe_load(SITE), **more}, hosts=HOSTS)
    return compile_site(site, {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)


def holds(from_: str, to: str, port: int | None = None, **more: Any) -> bool:
    """Whether the site may say that this works; that it does not work is asserted with it."""
    said = {"from": from_, "to": to, "port": port, **more}
    answers = []
    for expect in (True, False):
        try:
            compiled(dos_assertions=[{**said, "expect": expect}])
            answers.append(True)
        except DeclarationError:
            answers.append(False)
    assert answers[0] != answers[1], f"{said}: it cannot be told"
    return answers[0]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("web", "db", 5432), True),
        (("web-1", "db-1", 5432), True),
        (("group:web", "group:db", 5432), True),
        (("web", "db", 5433), False),
        (("bare", "db", 5432), False),
        (("10.9.1.1", "db", 22), False),
        (("bare", "web", 80), True),
        (("bare", "web", 8040), True),
        (("bare", "web", 8081), False),
        (("bare", "web"), True),
        (("bare", "db"), False),
        (("web-1", "web-2", 22), False),
        (("shut", "web", 80), False),
        (("shut", "8.8.8.8", 443), True),
        (("shut", "8.8.8.8", 80), False),
        (("web", "8.8.8.8", 80), True),
        (("bare", "old", 22), True),
        (("bare", "old", 23), False),
        (("bare", "clean", 22), True),
        (("clean", "bare", 22), True),
        (("8.8.8.8", "web", 80), False),
        (("one", "two", 80), False),
        (("one", "8.8.8.8", 80), False),
        (("desk", "desk-2", 80), True),
        (("192.0.2.1", "desk", 80), True),
        (("web", "10.0.0.1", 53), True),
        (("2001:db8::1", "six", 80), True),
        (("2001:db8::1", "six", 81), False),
        (("six", "2001:db8::1", 81), True),
    ],
    ids=str,
)
def test_reachability_is_told_as_it_is(asked: tuple[Any, ...], expected: bool) -> None:
    assert holds(*asked) is expected


def test_udp_is_not_tcp() -> None:
    assert not holds("bare", "web", 80, protocol="udp")


def test_what_is_wrong_is_told_with_its_reason_and_all_at_once() -> None:
    """DEP-13: two who belong together, on networks that end at their hosts, are one of the things that are wrong."""
    with pytest.raises(DeclarationError) as refused:
        compiled(dos_assertions=[{"from": "bare", "to": "db", "port": 5432}, {"from": "one", "to": "two"}])
    assert [str(problem) for problem in refused.value.problems] == [
        "dos_assertions.1: bare → db tcp port 5432 must work, and would not: filter sg.db of db-1 drops it (in)",
        "dos_assertions.2: one → two icmp must work, and would not: network apart is of type isolated, so each host has "
        "its own: one-1 on h1 and two-1 on h2",
    ]


def test_part_of_a_network_is_neither_all_of_it_nor_none() -> None:
    net = {"from": "10.0.0.0/24", "to": "db", "port": 5432}
    for expect in (True, False):
        with pytest.raises(DeclarationError, match="drops a part of it"):
            compiled(dos_assertions=[{**net, "expect": expect}])


def test_taking_a_rule_away_or_widening_one_is_seen() -> None:
    said = [{"from": "web", "to": "db", "port": 5432}, {"from": "bare", "to": "db", "port": 5432, "expect": False}]
    groups = yaml.safe_load(SITE)["dos_security_groups"]
    compiled(dos_assertions=said)
    for place, changed in ((0, []), (1, [{"protocol": "tcp"}])):
        mutated = deepcopy(groups)
        mutated["db"]["rules"] = changed
        with pytest.raises(DeclarationError) as refused:
            compiled(dos_assertions=said, dos_security_groups=mutated)
        assert [problem.path for problem in refused.value.problems] == [f"dos_assertions.{place + 1}"]


def test_what_cannot_be_told_is_said() -> None:
    said = [{"from": "bare", "to": "lease", "port": 80}, {"from": "bare", "to": "nobody", "port": 80}]
    base = yaml.safe_load(SITE)
    pool = {"dos_security_groups": {**base["dos_security_groups"], "half": {"rules": [{"cidrs": ["10.0.0.128/25"]}]}}}
    machines = {
        **base["dos_instances"],
        "lease": {"project": "demo", "memory": "64 MiB", "interfaces": [{"network": "lan", "security_group": "half"}]},
        "nobody": {"project": "demo", "memory": "64 MiB", "interfaces": [{"network": "lan"}]},
    }
    machines["lease"]["count"] = 1
    assert list(compiled(dos_assertions=said, dos_instances=machines, **pool).untold) == [
        "dos_assertions.1: whether bare → lease tcp port 80 works cannot be told beforehand: it depends on the address DHCP "
        "gives, see filter sg.half of lease-1",
        "dos_assertions.2: whether bare → nobody tcp port 80 works cannot be told beforehand: there is no machine at one end",
    ]


def test_a_host_has_the_filters_of_its_own_machines_and_knows_members_elsewhere() -> None:
    held = {host: {filter_.name: filter_ for filter_ in slice_.nwfilters} for host, slice_ in compiled().slices.items()}
    assert "sg.web" in held["h1"]
    assert "sg.six.6" in held["h1"]
    assert not held["h2"]
    peers = [rule.match for rule in held["h1"]["sg.db"].rules if (rule.match or {}).get("dstportstart") == "5432"]
    # .11 and .12 are no network of their own; 10.9.0.0/16 is one.
    assert peers == [
        {"srcipaddr": "10.0.0.11", "dstportstart": "5432"},
        {"srcipaddr": "10.0.0.12", "dstportstart": "5432"},
        {"srcipaddr": "10.9.0.0", "srcipmask": "16", "dstportstart": "5432"},
    ]


NETS = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "192.168.0.0/24"]
RULES = st.lists(
    st.fixed_dictionaries(
        {
            "direction": st.sampled_from(["in", "out"]),
            "protocol": st.sampled_from(["any", "tcp", "udp", "icmp"]),
            "cidrs": st.lists(st.sampled_from(NETS), max_size=2),
            "ports": st.lists(st.sampled_from(["1-1024", "80", "443", "1000-2000"]), max_size=2),
        }
    ).map(lambda rule: rule if rule["protocol"] in ("tcp", "udp") else {**rule, "ports": []}),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(
    RULES,
    st.sampled_from(["in", "out"]),
    st.sampled_from([("tcp", 80), ("tcp", 1024), ("tcp", 2000), ("udp", 443), ("icmp", None)]),
    st.sampled_from(["10.1.2.3", "10.200.0.1", "192.168.0.9", "203.0.113.5"]),
)
def test_a_compiled_group_lets_through_exactly_what_its_rules_say(
    rules: list[dict[str, Any]], direction: Any, what: tuple[str, int | None], peer: str
) -> None:
    group = decode(SecurityGroup, {"rules": rules})
    filters = {**FILTERS, "sg.g": compile_group(Name("g"), group, (4,), Members())}
    own, other = ipaddress.ip_network("10.7.7.7"), ipaddress.ip_network(peer)
    ends = {"source": other, "target": own} if direction == "in" else {"source": own, "target": other}
    mac = Mac("52:54:00:00:00:01")
    packet = Packet(direction=direction, protocol=what[0], port=what[1], family=4, mac=mac, **ends)
    assert verdicts("sg.g", filters, {"IP": "10.7.7.7"}, packet) == {_said(rules, direction, what, peer)}


def _said(rules: list[dict[str, Any]], direction: str, what: tuple[str, int | None], peer: str) -> bool:
    """The meaning of the rules, straight from the manual."""
    of_direction = [rule for rule in rules if rule["direction"] == direction]
    if direction == "out" and not of_direction:
        return True
    for rule in of_direction:
        nets = [ipaddress.ip_network(net) for net in rule["cidrs"]]
        spans = [(int(span.split("-")[0]), int(span.split("-")[-1])) for span in rule["ports"]]
        if (
            rule["protocol"] in ("any", what[0])
            and (not nets or any(ipaddress.ip_address(peer) in net for net in nets))
            and (not spans or any(first <= (what[1] or 0) <= last for first, last in spans))
        ):
            return True
    return False


def test_nobody_sends_from_an_address_that_is_not_his() -> None:
    group = decode(SecurityGroup, {"rules": []})
    filters = {**FILTERS, "sg.g": compile_group(Name("g"), group, (4,), Members())}
    for source, passes in (("10.7.7.7", True), ("10.7.7.8", False)):
        packet = Packet(
            direction="out",
            protocol="tcp",
            port=80,
            family=4,
            source=ipaddress.ip_network(source),
            target=ipaddress.ip_network("10.9.9.9"),
            mac=Mac("52:54:00:00:00:01"),
        )
        assert verdicts("sg.g", filters, {"IP": "10.7.7.7"}, packet) == {passes}
