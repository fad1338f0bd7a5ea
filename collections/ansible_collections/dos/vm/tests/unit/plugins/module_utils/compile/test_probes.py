# SPDX-License-Identifier: GPL-3.0-or-later
"""Assertions as packets to send, and what the answers come to (NWF-01)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dosvm.compile.probes import Question, Questions, questions, verdict
from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.decode import encode
from dosvm.site.load import load

HOSTS = ("h1", "h2")
SITE = """
dos_projects: {demo: {}}
dos_subnets:
  lan: {address: 10.0.0.0/24, gateway: 10.0.0.1, dhcp: {}}
  lan6: {address: "fd00::/64", gateway: "fd00::1"}
  office: {address: 10.1.0.0/24, gateway: 10.1.0.1}
dos_networks:
  lan: {type: nat, subnet: lan, subnet6: lan6, host: h1}
  office: {type: bridge, bridge: br0, subnet: office}
dos_instances:
  web:
    project: demo
    memory: 64 MiB
    interfaces: [{network: lan, mac: "52:54:00:00:00:0b"}]
    vms: {web-1: {ip: {lan: 10.0.0.11}, ip6: {lan: "fd00::11"}}}
  db:
    project: demo
    memory: 64 MiB
    interfaces: [{network: lan}]
    vms: {db-1: {ip: {lan: 10.0.0.21}, ip6: {lan: "fd00::21"}}, db-2: {power: "off", ip: {lan: 10.0.0.22}}}
  desk: {project: demo, memory: 64 MiB, host: h2, interfaces: [{network: office, ip: 10.1.0.5}], vms: {desk: {}}}
"""
FACTS = FakeHypervisor().facts()
RUNNING = {"h1": ("web-1", "db-1"), "h2": ("desk",)}
DEFINED = {"h1": ("web-1", "db-1", "db-2"), "h2": ("desk",)}


def asked(*assertions: dict[str, Any], silent: str = "") -> Questions:
    site = load({**yaml.safe_load(SITE), "dos_assertions": list(assertions)}, hosts=HOSTS)
    states = {
        host: HostState(
            facts=FACTS, domains=dict.fromkeys(DEFINED[host], True), active=dict.fromkeys(RUNNING[host], (1, 2**26))
        )
        for host in HOSTS
        if host != silent
    }
    return questions(site, compile_site(site, states, now=0.0), states)


def test_a_machine_asks_over_both_families_from_its_own_card() -> None:
    found = asked({"from": "web", "to": "db-1", "port": 5432})
    card = {"vm": "web-1", "mac": "52:54:00:00:00:0b", "protocol": "tcp", "port": 5432}
    assert [encode(probe) for probe in found.probes["h1"]] == [
        {**card, "source": "10.0.0.11", "target": "10.0.0.21"},
        {**card, "source": "fd00::11", "target": "fd00::21"},
    ]
    assert [pair.what for pair in found.asked[0].pairs] == ["web-1 → db-1 over IPv4", "web-1 → db-1 over IPv6"]


def test_what_is_elsewhere_is_reached_by_the_subnets_router() -> None:
    found = asked({"from": "desk", "to": "192.0.2.7", "port": 443}, {"from": "desk", "to": "10.1.0.9"})
    assert [(str(probe.target), probe.via) for probe in found.probes["h2"]] == [
        ("192.0.2.7", "10.1.0.1"),
        ("10.1.0.9", None),
    ]


def test_the_same_packet_is_sent_once() -> None:
    found = asked({"from": "web", "to": "10.0.0.9"}, {"from": "web-1", "to": "10.0.0.9"})
    assert len(found.probes["h1"]) == 1
    assert found.asked[0].pairs == found.asked[1].pairs


@pytest.mark.parametrize(
    ("assertion", "why"),
    [
        ({"from": "10.1.0.77", "to": "desk"}, "begins outside the site"),
        ({"from": "web", "to": "db-2"}, "db-2 does not run"),
        ({"from": "desk", "to": "192.0.2.0/24"}, "192.0.2.0/24 is many"),
        ({"from": "db-2", "to": "10.0.0.9"}, "db-2 does not run"),
    ],
)
def test_what_cannot_be_asked_says_why(assertion: dict[str, Any], why: str) -> None:
    found = asked(assertion)
    assert why in found.asked[0].pairs[0].why
    assert not any(found.probes.values())
    assert verdict(found.asked[0], {}).seen is None


def judged(expect: bool, *answers: tuple[bool | None, str]) -> Any:
    """The verdict on an assertion about two pairs, web-1 with db-1 over either family."""
    held = asked({"from": "web", "to": "db-1"}).asked[0]
    return verdict(Question(held.name, held.text, expect, held.pairs), {"h1": answers})


def test_a_verdict_is_that_of_the_worst_pair() -> None:
    assert not judged(True, (True, "answered"), (True, "answered")).broken
    wrong = judged(True, (True, "answered"), (False, "no answer within 3 s"))
    assert (wrong.broken, wrong.why) == (True, "web-1 → db-1 over IPv6: no answer within 3 s")
    assert (wrong.as_expected, wrong.of) == (1, 2)
    assert judged(False, (False, "no answer"), (True, "answered")).broken
    untold = judged(True, (True, "answered"), (None, "udp need not"))
    assert (untold.broken, untold.seen) == (False, None)


def test_a_host_that_does_not_answer_is_not_taken_for_a_no() -> None:
    held = asked({"from": "web", "to": "db-1"}).asked[0]
    assert verdict(held, {}).why == "web-1 → db-1 over IPv4: h1 did not answer"
    assert asked({"from": "desk", "to": "10.1.0.9"}, silent="h2").asked[0].pairs[0].why
