# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that nobody wrote: whose they are, and that they stay (NIC-02, SUBN-T1.8, SUBN-04)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosvm.compile.addresses import Pool
from dosvm.compile.site import Compiled, compile_site
from dosvm.compile.states import HostState, Kept
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.decode import decode
from dosvm.model.types import Address
from dosvm.site.load import load
from dosvm.site.subnet import Subnet

LAN = {
    "address": "10.0.0.0/24",
    "gateway": "10.0.0.1",
    "dhcp": {},
    "pool": [{"start": "10.0.0.10", "end": "10.0.0.19"}],
}
FACTS = FakeHypervisor().facts()


def compiled(
    names: Iterable[str], *, lan: Any = None, kept: Iterable[Kept] = (), written: Any = None, **more: Any
) -> Compiled:
    """One network on h1 with a machine of each name; `written` are addresses by machine."""
    vms = {name: {"ip": {"lan": written[name]}} if name in (written or {}) else {} for name in names}
    variables = {
        "dos_projects": {"p": {}},
        "dos_subnets": {"lan": {**LAN, **(lan or {})}},
        "dos_networks": {"lan": {"type": "nat", "subnet": "lan", "host": "h1"}},
        "dos_instances": {
            "web": {"project": "p", "memory": "64 MiB", "interfaces": [{"network": "lan"}], "vms": vms, **more}
        },
    }
    states = {"h1": HostState(facts=FACTS, addresses=tuple(kept))}
    return compile_site(load(variables, hosts=("h1",)), states, now=0.0)


def reserved(made: Compiled) -> dict[str, Kept]:
    """What the host keeps for each machine."""
    (network,) = made.slices["h1"].networks
    dhcp = network.subnets[0].dhcp
    hosts = dhcp.hosts if dhcp else ()
    return {
        str(host.name): Kept(network="lan", ip=host.ip, mac=str(host.mac or ""), name=str(host.name)) for host in hosts
    }


def ips(made: Compiled) -> dict[str, str]:
    return {name: str(held.ip) for name, held in reserved(made).items()}


def test_everybody_has_an_address_of_the_pool_that_nobody_else_has() -> None:
    """SUBN-03."""
    found = ips(compiled([f"m{at}" for at in range(10)]))
    assert sorted(found.values()) == [f"10.0.0.{at}" for at in range(10, 20)]


def test_the_order_of_the_declaration_means_nothing() -> None:
    names = [f"m{at}" for at in range(8)]
    assert ips(compiled(names)) == ips(compiled(names[::-1]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from([f"m{at}" for at in range(12)]), min_size=1, max_size=10), min_size=2, max_size=6)
)
def test_who_stays_keeps_its_address_whoever_comes_and_goes(runs: list[set[str]]) -> None:
    kept: dict[str, Kept] = {}
    for names in runs:
        found = reserved(compiled(sorted(names), kept=kept.values()))
        assert len({held.ip for held in found.values()}) == len(names)
        assert all(found[name] == kept[name] for name in names & kept.keys())
        kept = found


def test_what_was_handed_out_becomes_its_own() -> None:
    mac = "52:54:00:00:00:07"
    card = {"interfaces": [{"network": "lan", "mac": mac}]}
    lease = Kept(network="lan", ip=Address("10.0.0.17"), mac=mac, firm=False)
    assert ips(compiled(["a"], kept=[lease], **card)) == {"a": "10.0.0.17"}
    # But not if somebody has written it for another machine meanwhile.
    found = ips(compiled(["a", "b"], kept=[lease._replace(mac="52:54:00:00:00:08")], written={"b": "10.0.0.17"}))
    assert found["b"] == "10.0.0.17" != found["a"]


def test_an_address_that_leaves_the_pool_is_given_up() -> None:
    kept = reserved(compiled(["a"]))["a"]
    span = {"start": "10.0.0.100", "end": "10.0.0.101"}
    assert ips(compiled(["a"], kept=[kept], lan={"pool": [span]}))["a"] in ("10.0.0.100", "10.0.0.101")


def test_one_address_of_two_is_refused_with_both_places() -> None:
    kept = reserved(compiled(["a"]))["a"]
    with pytest.raises(DeclarationError) as refused:
        compiled(["a", "b"], kept=[kept], written={"b": str(kept.ip)})
    assert [str(problem) for problem in refused.value.problems] == [
        f"dos_instances.web.vms.a on lan: {kept.ip} is reserved for it since an earlier run, and "
        "dos_instances.web.vms.b on lan has it as well: write another address for one of them (SUBN-04)"
    ]


def test_a_pool_that_is_too_small_says_so() -> None:
    with pytest.raises(DeclarationError, match=r"dos_subnets\.lan\.pool: has 10 addresses for 11 cards"):
        compiled([f"m{at}" for at in range(11)])
    with pytest.raises(DeclarationError, match=r"is used up before dos_instances\.web\.vms\.m9"):
        compiled([f"m{at}" for at in range(10)] + ["z"], written={"z": "10.0.0.15"})


def test_who_is_named_by_mac_in_a_reservation_has_that() -> None:
    mac = "52:54:00:00:00:07"
    dhcp = {"reservations": [{"mac": mac, "ip": "10.0.0.200"}]}
    made = compiled(["a"], lan={"dhcp": dhcp}, interfaces=[{"network": "lan", "mac": mac}])
    assert [str(held.ip) for held in reserved(made).values()] == ["10.0.0.200"]


@pytest.mark.parametrize("lan", [{"dhcp": {"allocate": False}}, {"dhcp": {"enabled": False}}, {"pool": []}], ids=str)
def test_nobody_is_given_one_where_that_is_not_wanted(lan: dict[str, Any]) -> None:
    assert ips(compiled(["a"], lan=lan)) == {}


def test_members_of_a_group_need_no_address_where_they_are_given_one() -> None:
    groups = {"web": {"rules": []}, "db": {"rules": [{"protocol": "tcp", "ports": [5432], "groups": ["web"]}]}}
    variables = {
        "dos_projects": {"p": {}},
        "dos_subnets": {"lan": LAN},
        "dos_networks": {"lan": {"type": "nat", "subnet": "lan"}},
        "dos_security_groups": groups,
        "dos_instances": {
            name: {
                "project": "p", "memory": "64 MiB", "interfaces": [{"network": "lan", "security_group": name}], "count": 1,
            }
            for name in groups
        },
        "dos_assertions": [{"from": "web", "to": "db", "port": 5432}, {"from": "db", "to": "web", "expect": False}],
    }  # fmt: skip
    made = compile_site(load(variables, hosts=("h1",)), {"h1": HostState(facts=FACTS)}, now=0.0)
    own = ips(made)["web-1"]
    (db,) = (held for held in made.slices["h1"].nwfilters if held.name == "sg.db")
    assert {"srcipaddr": own, "dstportstart": "5432"} in [rule.match for rule in db.rules]
    assert made.slices["h1"].domains[0].interfaces[0].filter_parameters == {"IP": own}


@pytest.mark.parametrize("version", [4, 6])
def test_a_pool_of_several_ranges_is_counted_through(version: int) -> None:
    net, first = ("10.0.0.0/24", "10.0.0.{}") if version == 4 else ("fd00::/64", "fd00::{}")
    spans = [{"start": first.format(20), "end": first.format(22)}, {"start": first.format(10), "end": first.format(10)}]
    pool = Pool(decode(Subnet, {"address": net, "pool": spans}))
    held = [str(pool[at]) for at in range(pool.size)]
    assert held == [first.format(at) for at in (10, 20, 21, 22)]
    assert [Address(first.format(at)) in pool for at in (9, 10, 11, 20, 22, 23)] == [
        False,
        True,
        False,
        True,
        True,
        False,
    ]
