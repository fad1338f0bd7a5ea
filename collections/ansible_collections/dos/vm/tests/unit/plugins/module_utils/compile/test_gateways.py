# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host is the gateway of a bridged network, and which hosts have the network at all."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.compile.memory import Memory
from dosvm.compile.placing import situation
from dosvm.compile.site import HostState, compile_situation
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.site.load import load

SUBNET: dict[str, Any] = {"address": "10.0.0.0/24", "gateway": "10.0.0.1", "automatic_gateway": {}}
NETWORK = {"type": "bridge", "bridge": "br0", "forward_interface": "eth1", "subnet": "lan"}
HOSTS = ("h1", "h2", "h3")


def compiled(
    *, has: dict[str, bool] | None = None, silent: str = "", dead: str = "", moves: Any = None, **gateway: Any
) -> Any:
    """The site of one network with a machine on h2; `has` says which hosts have the gateway, and whether it is up there."""
    variables = {
        "dos_projects": {"p": {}},
        "dos_subnets": {"lan": {**SUBNET, "automatic_gateway": gateway}},
        "dos_networks": {"lan": NETWORK},
        "dos_instances": {
            "web": {
                "project": "p",
                "memory": "64 MiB",
                "interfaces": [{"network": "lan"}],
                "vms": {"web": {"host": "h2", "ip": {"lan": "10.0.0.11"}}},
            }
        },
    }
    facts = FakeHypervisor().facts()
    states = {
        host: HostState(facts=facts, gateways={"lan": up} if (up := (has or {}).get(host)) is not None else {})
        for host in HOSTS
        if host != silent
    }
    memory = Memory(dead=frozenset([dead] if dead else []))
    return compile_situation(situation(load(variables, hosts=HOSTS), states, now=0.0, memory=memory), moves=moves)


def carriers(made: Any) -> set[str]:
    return {host for host, held in made.slices.items() if held.gateways}


def test_it_is_where_the_network_is_used_first() -> None:
    made = compiled()
    assert carriers(made) == {"h2"}
    (gateway,) = made.slices["h2"].gateways
    assert [host.ip for subnet in gateway.subnets for host in (subnet.dhcp.hosts if subnet.dhcp else ())] == []
    assert not gateway.autostart


def test_a_network_is_on_the_hosts_that_need_it() -> None:
    """NET-09: one machine, and the gateway."""
    made = compiled(host="h3")
    assert {host for host, held in made.slices.items() if held.networks} == {"h2", "h3"}
    assert {host for host, held in made.slices.items() if held.bridges} == {"h2", "h3"}
    assert made.slices["h3"].gateways[0].autostart


def test_it_stays_where_it_is_even_broken() -> None:
    assert carriers(compiled(has={"h3": True})) == {"h3"}
    assert carriers(compiled(has={"h3": False})) == {"h3"}


def test_after_a_failover_the_one_that_is_up_is_it() -> None:
    assert carriers(compiled(has={"h1": False, "h3": True})) == {"h3"}


def test_nobody_gets_it_while_one_who_may_have_it_is_silent() -> None:
    """GW-02: silence is no proof."""
    made = compiled(silent="h1")
    assert carriers(made) == set()
    assert "h1 may be it" in made.gateways["lan"].reason


def test_a_dead_host_is_succeeded() -> None:
    """GW-05."""
    assert carriers(compiled(silent="h1", dead="h1")) == {"h2"}


def test_a_host_that_answers_again_is_not_dead() -> None:
    assert carriers(compiled(dead="h1", has={"h1": True})) == {"h1"}


def test_a_silent_host_does_not_matter_while_another_has_it() -> None:
    assert carriers(compiled(silent="h1", has={"h3": True})) == {"h3"}


def test_it_moves_when_told() -> None:
    assert carriers(compiled(has={"h3": True}, moves={"lan": "h1"})) == {"h1"}


def test_a_move_that_cannot_be_is_refused() -> None:
    with pytest.raises(DeclarationError, match="bound to h1") as refused:
        compiled(host="h1", moves={"lan": "h2", "wan": "h2"})
    assert "dos_gateway_hosts.wan: no network of that name has an automatic gateway" in str(refused.value)
    with pytest.raises(DeclarationError, match="host 'h9' cannot have the network"):
        compiled(moves={"lan": "h9"})
