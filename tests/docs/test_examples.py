# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in `inventories/`: each is a site that holds what it asserts, and becomes the topology that it shows (DEP-15)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.slice import Slice
from dosvm.site.load import load
from dosvm.site.site import Site
from dosvm.site.validate import warnings

INVENTORIES = Path(__file__).resolve().parents[2] / "inventories"
EXAMPLES = sorted(path.name.removeprefix("example-") for path in INVENTORIES.glob("example-*"))
FACTS = FakeHypervisor().facts()


def variables(name: str) -> dict[str, Any]:
    text = (INVENTORIES / f"example-{name}" / "group_vars" / "all" / "site.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    found.pop("dos_allow", None)  # of the plays, not of the site
    return found


def site(name: str, **changed: Any) -> Site:
    hosts = yaml.safe_load((INVENTORIES / f"example-{name}" / "hosts.yml").read_text(encoding="utf-8"))
    listed = hosts["all"]["children"]["dos_hosts"]["hosts"]
    return load(
        {**variables(name), **changed},
        hosts=tuple(listed),
        address_of=lambda host: listed[host]["ansible_host"],
    )


def compiled(name: str, **changed: Any) -> Compiled:
    held = site(name, **changed)
    return compile_site(held, {host: HostState(facts=FACTS) for host in held.hosts}, now=0.0)


def slices(name: str) -> Mapping[str, Slice]:
    return compiled(name).slices


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_meant_as_it_is_written(name: str) -> None:
    made = compiled(name)
    assert warnings(site(name)) == []
    assert made.untold == ()
    assert made.findings == ()
    assert {domain.name for slice_ in made.slices.values() for domain in slice_.domains} == made.decisions.keys()


@pytest.mark.parametrize("name", [name for name in EXAMPLES if "dos_assertions" in variables(name)])
def test_what_an_example_asserts_would_fail_without_its_groups(name: str) -> None:
    """An assertion that must not work is kept by a rule: where groups let everything in, it is refused."""
    said = variables(name)
    anybody = {group: {"rules": [{}]} for group in said["dos_security_groups"]}
    with pytest.raises(DeclarationError, match="must not work, and would"):
        compiled(name, dos_security_groups=anybody)


def test_flat_bridges_have_a_cable_and_no_address() -> None:
    for slice_ in slices("flat").values():
        (bridge,), (network,) = slice_.bridges, slice_.networks
        assert (bridge.uplink, network.forward, network.subnets, slice_.gateways) == ("eth1", "bridge", (), ())


def test_separate_machines_have_a_card_on_each_wire() -> None:
    held = slices("separate")
    assert {bridge.uplink for bridge in held["kvm1"].bridges} == {"eth1", "eth2"}
    (web,) = held["kvm1"].domains
    assert [card.network for card in web.interfaces] == ["external", "internal"]
    assert len({card.filter for card in web.interfaces}) == 2


def test_one_cable_is_shared_with_the_host_which_is_allowed_by_name() -> None:
    for slice_ in slices("one-cable").values():
        assert [bridge.uplink for bridge in slice_.bridges] == ["eth0"]
    text = (INVENTORIES / "example-one-cable" / "group_vars" / "all" / "site.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["dos_allow"] == [{"uplink": ["eth0"]}]


def test_a_gateway_has_addresses_services_and_ways_of_both_families() -> None:
    gateways = {
        gateway.name: (host, gateway) for host, slice_ in slices("gateway").items() for gateway in slice_.gateways
    }
    host, shop = gateways["shop"]
    assert host == "kvm1"
    assert (shop.forward, shop.device, [held.to for held in shop.forwards]) == ("nat", "eth0", ["10.3.0.11"])
    assert [subnet.address for subnet in shop.subnets] == ["10.3.0.1/24", "2001:db8:3::1/64"]
    assert shop.subnets[0].dhcp is not None
    assert {str(held.name) for held in shop.subnets[0].dhcp.hosts} == {"web-1", "db"}
    assert (gateways["lab"][0], gateways["lab"][1].forward) == ("kvm2", "route")


def test_vlans_keep_services_apart_and_one_card_has_them_all() -> None:
    (network,) = slices("vlans")["kvm1"].networks
    assert network.virtual_port == "openvswitch"
    tags = {group.name: [tag.id for tag in group.vlan.tags] for group in network.port_groups if group.vlan}
    assert tags == {"web": [10], "db": [20], "router": [10, 20]}
