#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""200 active networks and 500 rules of security groups on this machine's libvirt, made, kept and changed in one rule and one
reservation; and how long the site takes that declares them.

    .venv/bin/python tests/perf/bench_network.py [--networks 200] [--rules 500] [--json FILE] [--profile FILE]

Beside a script of libvirt's own calls, whose no-op reads the XML of every one of them and compares nothing. Ratios of one run
are what counts; short measurements are repeated and the fastest counts. Everything is named `bench-net…`, and removed at the end.
"""

from __future__ import annotations

import argparse
import cProfile
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

import libvirt
from bare import connected, described
from objects import URI
from running import say, seconds, start_libvirt, tell

from dosvm.apply import Outcome, converge
from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.slice import Permission, Slice
from dosvm.plan.action import Define
from dosvm.site.load import load
from dosvm.xml.build import parse, to_text

CARDS = 4  # of a machine, each on a network of its own
PER_GROUP = 10  # rules
SERVED = (
    4  # one network in so many has a dnsmasq; each takes one of the kernel's inotify instances, of which there are few
)
TIMES = 5  # that a short measurement is repeated
LIVE_AND_KEPT = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How much of what there is. `changed` is the one change: a port of the first rule, and the first machine's address.

    A machine, which is off, has cards on four networks; there are as many of them as it takes, and they are in the groups in turn.
    """

    networks: int
    rules: int
    prefix: str = "bench-net"
    octet: int = 215  # of 10.octet.n.0/24
    changed: bool = False

    @property
    def machines(self) -> int:
        return -(-max(self.networks, CARDS * self.groups) // CARDS)

    @property
    def groups(self) -> int:
        return -(-self.rules // PER_GROUP)

    def name(self, number: int) -> str:
        return f"{self.prefix}-{number}"

    def owns(self, name: str) -> bool:
        """Whether an object of this name is one of these."""
        return name.removeprefix("sg.").startswith(f"{self.prefix}-")

    def variables(self) -> Raw:
        """The site, as an operator writes it."""
        lans = range(self.networks)
        return {
            "dos_site": self.prefix,
            "dos_projects": {self.prefix: {}},
            "dos_subnets": {self.name(at): self._subnet(at) for at in lans},
            "dos_networks": {
                self.name(at): {
                    "type": ("isolated", "nat")[at % 2],
                    "subnet": self.name(at),
                    "bridge": f"vb{self.octet}-{at}",
                    "host": "here",
                }
                for at in lans
            },
            "dos_security_groups": {
                self.name(at): {"rules": list(map(self._rule, self._of(at)))} for at in range(self.groups)
            },
            "dos_instances": {f"{self.name(at)}-i": self._instance(at) for at in range(self.machines)},
        }

    def _of(self, group: int) -> range:
        return range(group * PER_GROUP, min(self.rules, (group + 1) * PER_GROUP))

    def _subnet(self, at: int) -> Raw:
        net = f"10.{self.octet}.{at}"
        served: Raw = {"dhcp": {}} if at % SERVED == 0 else {"dns": {"enabled": False}}
        return {"address": f"{net}.0/24", "gateway": f"{net}.1", **served}

    def _rule(self, at: int) -> Raw:
        """From a network, from the machines of another group, or from anybody, in turn."""
        port = 1000 + at + (10_000 if self.changed and at == 0 else 0)
        whose: Raw = ({"cidrs": [f"10.{at % 200}.0.0/16"]}, {"groups": [self.name(at % self.groups)]}, {})[at % 3]
        return {"protocol": ("tcp", "udp")[at % 2], "ports": [port], **whose}

    def _instance(self, at: int) -> Raw:
        lans = [(at * CARDS + card) % self.networks for card in range(min(CARDS, self.networks))]
        group = self.name(at % self.groups)
        return {
            "project": self.prefix,
            "memory": "16 MiB",
            "boot": ["network"],
            "interfaces": [{"network": self.name(lan), "security_group": group} for lan in lans],
            "vms": {self.name(at): {"power": "off", "ip": {self.name(lan): self.ip(at, lan) for lan in lans}}},
        }

    def ip(self, machine: int, lan: int) -> str:
        last = 10 + machine * CARDS // self.networks
        return f"10.{self.octet}.{lan}.{last + (100 if self.changed and machine == lan == 0 else 0)}"


# dos.vm


def compiled(bench: Bench) -> Slice:
    """From variables to the slice of the one host."""
    site = load(bench.variables(), hosts=["here"])
    hypervisor = LibvirtHypervisor(URI)
    try:
        states = {"here": HostState(facts=hypervisor.facts())}
    finally:
        hypervisor.close()
    return compile_site(site, states, now=0).slices["here"]


def library(held: Slice, *, changed: bool, dry_run: bool = False) -> Outcome:
    """A run of the library with a connection of its own. A time counts only if the work was done."""
    hypervisor = LibvirtHypervisor(URI)
    try:
        outcome = converge(held, hypervisor, permission=Permission(), dry_run=dry_run)
    finally:
        hypervisor.close()
    if outcome.failures or outcome.changed != changed:
        sys.exit(f"expected changed={changed}, got {outcome.performed[:5]} … {outcome.failures[:5]}")
    return outcome


# libvirt's own calls

Xml = dict[str, dict[str, str]]


def xml(held: Slice) -> Xml:
    """The definitions by kind and name, as dos.vm would write them on a host that has none of them."""
    found: Xml = {"network": {}, "nwfilter": {}, "domain": {}}
    for plan in library(held, changed=True, dry_run=True).plans:
        for action in plan.actions:
            if isinstance(action, Define):
                found[action.address.kind][action.address.name] = action.xml
    return found


def bare_apply(held: Xml) -> None:
    with connected() as libvirtd:
        for text in held["nwfilter"].values():
            libvirtd.nwfilterDefineXML(text)
        for text in held["network"].values():
            libvirtd.networkDefineXML(text).create()
        for text in held["domain"].values():
            libvirtd.defineXML(text)


def bare_read() -> int:
    """The definition of every network, filter and machine, and the live one of what runs."""
    with connected() as held:
        found = described(held.listAllNetworks(), libvirt.VIR_NETWORK_XML_INACTIVE)
        found += described(held.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE), 0)
        found += described(held.listAllNWFilters(), 0)
        return found + described(held.listAllDomains(), libvirt.VIR_DOMAIN_XML_INACTIVE)


def bare_change(bench: Bench, held: Xml) -> None:
    """The one change, by one who knows where it is."""
    first = bench.name(0)
    with connected() as libvirtd:
        lan = libvirtd.networkLookupByName(first)
        entry = _reservation(held["network"][first], bench.ip(0, 0))
        lan.update(
            libvirt.VIR_NETWORK_UPDATE_COMMAND_MODIFY,
            libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST,
            -1,
            entry,
            LIVE_AND_KEPT,
        )
        libvirtd.nwfilterDefineXML(held["nwfilter"][f"sg.{first}"])


def _reservation(network: str, ip: str) -> str:
    return next(to_text(host) for host in parse(network).iter("host") if host.get("ip") == ip)


def clear(bench: Bench) -> None:
    """Nothing of the benchmark stays."""
    with connected() as libvirtd:
        for domain in libvirtd.listAllDomains():
            if bench.owns(domain.name()):
                domain.undefine()
        for network in libvirtd.listAllNetworks():
            if bench.owns(network.name()):
                if network.isActive():
                    network.destroy()
                network.undefine()
        for nwfilter in libvirtd.listAllNWFilters():
            if bench.owns(nwfilter.name()):
                nwfilter.undefine()


# The run


def measure(bench: Bench, profile: Path | None = None) -> Raw:
    """Seconds of each step of each way. The host is as before afterwards."""
    changed = replace(bench, changed=True)
    clear(bench)
    try:
        first, second = compiled(bench), compiled(changed)
        plain, plain_changed = xml(first), xml(second)
        say("libvirt's own calls")
        bare = {"first": seconds(lambda: bare_apply(plain)), "again": seconds(bare_read, TIMES)}
        bare["change"] = seconds(lambda: bare_change(changed, plain_changed))
        clear(bench)
        say("dos.vm")
        ours = {"first": seconds(lambda: library(first, changed=True))}
        ours["again"] = seconds(lambda: library(first, changed=False), TIMES)
        if profile:
            cProfile.runctx("library(first, changed=False)", globals(), {"first": first}, str(profile))
        ours["change"] = seconds(lambda: library(second, changed=True))
        site = seconds(lambda: compiled(bench), TIMES)
        objects = {kind: len(held) for kind, held in plain.items()}
    finally:
        clear(bench)
    ratios = {step: ours[step] / bare[step] for step in bare}
    return {"objects": objects, "rules": bench.rules, "bare": bare, "library": ours, "site": site, "ratios": ratios}


def table(result: Raw) -> str:
    """The result as Markdown."""
    rows = {"libvirt calls, nothing else": result["bare"], "dos.vm, the library in process": result["library"]}
    lines = ["| way | first apply | no-op | one change |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {' | '.join(f'{held[step]:.2f} s' for step in held)} |" for name, held in rows.items()]
    lines.append(f"| × | {' | '.join(f'{ratio:.1f}' for ratio in result['ratios'].values())} |")
    objects = ", ".join(f"{count} {kind}s" for kind, count in result["objects"].items())
    lines += ["", f"{objects}, {result['rules']} rules. From variables to the slice: {result['site']:.2f} s."]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> Raw:
    parser = argparse.ArgumentParser(description="networks and rules on real libvirt, beside libvirt's own calls")
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--rules", type=int, default=500)
    parser.add_argument("--prefix", default="bench-net", help="of every name")
    parser.add_argument("--octet", type=int, default=215, help="of the networks, 10.OCTET.n.0/24")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    parser.add_argument("--profile", type=Path, help="write where the time of one more no-op goes, for pstats")
    held = parser.parse_args(arguments)
    start_libvirt()
    bench = Bench(networks=held.networks, rules=held.rules, prefix=held.prefix, octet=held.octet)
    result = measure(bench, held.profile)
    return tell(result, table(result), held.json)


if __name__ == "__main__":
    main()
