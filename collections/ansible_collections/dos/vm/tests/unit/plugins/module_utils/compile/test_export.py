# SPDX-License-Identifier: GPL-3.0-or-later
"""Export is the inverse of compile: what a site made of a host is exported as a site that would make the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from dosvm.apply import converge
from dosvm.compile.export import Exported, Told, export, prove
from dosvm.compile.site import HostState, compile_site
from dosvm.errors import DosVmError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import Name
from dosvm.plan.kinds import declared_objects
from dosvm.plan.plan import Observed
from dosvm.site.load import load
from dosvm.site.site import KINDS
from dosvm.xml.build import parse

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from site_strategies import Declared, sites

OTHER = Name("other")  # in whose eyes everything on the hosts is somebody else's


def _hosts(declared: Declared) -> tuple[dict[str, FakeHypervisor], dict[str, Slice]]:
    """Hosts on which the site was made so."""
    files = {f"/srv/images/{number}.img": 2**30 for number in range(3)}
    hosts = {host: FakeHypervisor(files=files) for host in declared.hosts}
    site = load(declared.variables, hosts=declared.hosts)
    states = {host: HostState(facts=held.facts()) for host, held in hosts.items()}
    slices = compile_site(site, states, now=0.0).slices
    for host, held in hosts.items():
        converge(slices[host], held, permission=Permission())  # whether every machine starts does not matter here
    return hosts, dict(slices)


def _told(hosts: dict[str, FakeHypervisor]) -> dict[str, Told]:
    return {host: Told(facts=held.facts(), observed=held.observe(OTHER)) for host, held in hosts.items()}


def _addresses(held: Slice) -> set[str]:
    return {str(address) for _, address, _ in declared_objects(held)}


def _again(exported: Exported) -> dict[str, dict[str, Any]]:
    """As a file would bring it back."""
    text = yaml.safe_dump({kind: exported.objects.get(kind, {}) for kind in KINDS})
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(declared=sites(most_hosts=2, most_instances=3))
def test_a_site_is_exported_as_one_that_makes_the_same(declared: Declared) -> None:
    try:
        hosts, slices = _hosts(declared)
    except DosVmError:
        return  # no room for its machines: nothing was made
    told = _told(hosts)
    exported = export(OTHER, told)
    objects = _again(exported)
    assert prove(OTHER, objects, told)[0] == list(exported.differing) == []
    named = {(host, name) for host, name, _ in exported.left_out}
    site = load(
        {"dos_site": "other", **{f"dos_{kind}": held for kind, held in objects.items()}}, hosts=told, check=False
    )
    states = {host: HostState(facts=held.facts()) for host, held in hosts.items()}
    for host, held in compile_site(site, states, now=0.0).slices.items():
        missing = _addresses(slices[host]) - _addresses(held)
        assert {(host, name) for name in missing} <= named


def _one(kind: Any, name: str, xml: str, **more: Any) -> tuple[Exported, dict[str, Told]]:
    observed = Observed(address=Address(kind, name), xml=parse(xml), **more)
    told = {"here": Told(facts=FakeHypervisor().facts(), observed={observed.address: observed})}
    return export(OTHER, told), told


DOMAIN = """
<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>{devices}</devices></domain>
"""


@pytest.mark.parametrize(
    ("kind", "name", "xml", "more", "reason"),
    [
        ("domain", "d", DOMAIN.format(name="d", devices=""), {"persistent": False}, "is transient"),
        ("domain", "a b", DOMAIN.format(name="a b", devices=""), {}, "is not a name"),
        ("domain", "d", DOMAIN.format(name="d", devices="<graphics type='vnc' passwd='x'/>"), {}, "has a password"),
        ("pool", "p", "<pool type='sheepdog'><name>p</name></pool>", {}, "is of type sheepdog"),
        ("volume", "p/v", "<volume><name>v</name></volume>", {}, "its pool p is not declared"),
        (
            "secret",
            "s",
            "<secret><usage type='volume'><volume>s</volume></usage></secret>",
            {},
            "its value is never read",
        ),
    ],
)
def test_what_cannot_be_declared_is_named_and_left_out(kind: str, name: str, xml: str, more: Any, reason: str) -> None:
    exported, _ = _one(kind, name, xml, **more)
    [(host, left, why)] = exported.left_out
    assert (host, left) == ("here", f"{kind} {name}")
    assert reason in why
    assert set(exported.objects) <= {"projects"}
    assert exported.differing == ()


def test_more_disks_than_an_instance_takes_go_to_the_overlay() -> None:
    disks = "".join(
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/{letter}.img'/>"
        f"<target dev='vd{letter}' bus='virtio'/></disk>"
        for letter in "abcdef"
    )
    exported, _ = _one("domain", "d", DOMAIN.format(name="d", devices=disks))
    instance = exported.objects["instances"]["d"]
    assert [disk["target"] for disk in instance["disks"]] == ["vda", "vdb", "vdc", "vdd"]
    assert "vde" in instance["xml"][0]
    assert "vdf" in instance["xml"][0]
    assert exported.differing == ()


def test_only_what_was_asked_for_is_written() -> None:
    xml = DOMAIN.format(name="d", devices="")
    observed = {
        Address("domain", name): Observed(
            address=Address("domain", name), xml=parse(xml.replace(">d<", f">{name}<")), ours=ours
        )
        for name, ours in (("mine", True), ("theirs", False))
    }
    told = {"here": Told(facts=FakeHypervisor().facts(), observed=observed)}
    for only, names in (("all", {"mine", "theirs"}), ("ours", {"mine"}), ("unmanaged", {"theirs"})):
        assert export(OTHER, told, only).objects["instances"].keys() == names


def test_an_object_that_two_hosts_have_alike_is_bound_to_both_and_one_that_differs_is_named() -> None:
    def pool(path: str) -> dict[Address, Observed]:
        address = Address("pool", "p")
        xml = f"<pool type='dir'><name>p</name><target><path>{path}</path></target></pool>"
        return {address: Observed(address=address, xml=parse(xml), active=True, autostart=True)}

    facts = FakeHypervisor().facts()
    told = {host: Told(facts=facts, observed=pool(path)) for host, path in (("a", "/x"), ("b", "/x"), ("c", "/y"))}
    exported = export(OTHER, told)
    assert exported.objects["pools"] == {"p": {"path": "/x", "hosts": ["a", "b"]}}
    assert [held[:2] for held in exported.left_out] == [("c", "pool p")]
    assert exported.of_host("a") == {}
    assert exported.of_host(None)["pools"].keys() == {"p"}


def test_what_the_rules_of_a_site_are_against_goes_to_the_overlay() -> None:
    def network(name: str) -> str:
        return f"<network><name>{name}</name><forward mode='nat'/><ip address='10.9.0.1' prefix='24'/></network>"

    observed = {
        Address("network", name): Observed(
            address=Address("network", name), xml=parse(network(name)), active=True, autostart=True
        )
        for name in ("one", "two")
    }
    exported = export(OTHER, {"here": Told(facts=FakeHypervisor().facts(), observed=observed)})
    assert exported.objects["networks"].keys() == {"one", "two"}
    assert any("10.9.0.1" in held.get("xml", "") for held in exported.objects["networks"].values())
    assert (exported.problems, exported.differing, exported.left_out) == ((), (), ())


@pytest.mark.parametrize(
    ("ips", "named"),
    [
        (("10.9.0.1/24", "fd00:9::1/64"), {"subnet": "lan", "subnet6": "lan-6"}),
        (("fd00:9::1/64", "10.9.0.1/24"), {"subnet": "lan", "subnet6": "lan-6"}),
        (("fd00:9::1/64",), {"subnet": "lan"}),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "dns", ["", "<dns forwardPlainNames='no'/>", "<dns><host ip='fd00:9::7'><hostname>a</hostname></host></dns>"]
)
def test_a_network_of_both_families_has_a_subnet_of_each(ips: tuple[str, ...], named: dict[str, str], dns: str) -> None:
    def element(address: str) -> str:
        ip, prefix = address.split("/")
        return f"<ip family='{'ipv6' if ':' in ip else 'ipv4'}' address='{ip}' prefix='{prefix}'/>"

    xml = f"<network><name>lan</name><forward mode='nat'/>{dns}{''.join(map(element, ips))}</network>"
    address = Address("network", "lan")
    told = {"here": Told(
        facts=FakeHypervisor().facts(),
        observed={address: Observed(address=address, xml=parse(xml), active=True, autostart=True)},
    )}  # fmt: skip
    exported = export(Name("mine"), told)
    assert exported.differing == ()
    assert {field: exported.objects["networks"]["lan"].get(field) for field in named} == named
    assert "xml" not in exported.objects["networks"]["lan"]
    assert exported.objects["subnets"].keys() == set(named.values())
