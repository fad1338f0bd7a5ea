# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of slices for hypothesis: few names, so that the two overlap; everything stands on what is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from domain_strategies import domains, flags, maybe, numbers
from hypothesis import strategies as st
from law_cases import Case, marked

from dosvm.model.bridge import Bridge, Vxlan
from dosvm.model.domain import Disk, Domain, Interface
from dosvm.model.network import (
    Dhcp,
    DhcpHost,
    DhcpRange,
    Dns,
    DnsHost,
    DnsSrv,
    DnsTxt,
    Network,
    PortGroup,
    Subnet,
)
from dosvm.model.nwfilter import FilterReference, FilterRule, Nwfilter
from dosvm.model.on_boot import OnBoot
from dosvm.model.pool import Pool
from dosvm.model.secret import Secret
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import AbsolutePath, Address, ByteSize, Cidr, DeviceName, Mac, Name
from dosvm.model.volume import Backing, Volume

FILES = {"/srv/a.iso": 4096, "/srv/one.raw": 2**20, "/srv/two.raw": 2**20}
MEBIBYTE = 2**20
VALUES = {"p": b"console1", "q": b"another2"}


def mac(number: int) -> Mac:
    return Mac(f"52:54:01:00:00:{number:02x}")


@st.composite
def pools(draw: st.DrawFn, name: str) -> Pool:
    # Two pools never share a directory, and so each has two of its own to move between.
    path = AbsolutePath(f"/srv/{name}{draw(st.sampled_from(['', '', '', '-moved']))}")
    return Pool(name=Name(name), path=path, autostart=draw(flags))


@st.composite
def volumes(draw: st.DrawFn, pool: str) -> list[Volume]:
    base = Volume(
        pool=Name(pool),
        name=Name("base"),
        capacity=ByteSize(draw(st.sampled_from([64, 64, 64, 128])) * MEBIBYTE),
        format=draw(st.sampled_from(["qcow2", "qcow2", "raw"])),
    )
    top = Volume(
        pool=Name(pool),
        name=Name("top"),
        capacity=draw(st.sampled_from([None, ByteSize(128 * MEBIBYTE), ByteSize(256 * MEBIBYTE)])),
        backing=Backing(volume=base.name, format=base.format),
    )
    return [base, *([top] if draw(flags) else [])]


rules = st.builds(
    FilterRule,
    action=st.sampled_from(["accept", "drop"]),
    direction=st.sampled_from(["in", "out", "inout"]),
    protocol=st.sampled_from(["tcp", "udp"]),
    priority=st.sampled_from([100, 500]),
    match=maybe(st.fixed_dictionaries({"dstportstart": st.sampled_from(["22", "80"])})),
)


@st.composite
def nwfilters(draw: st.DrawFn) -> list[Nwfilter]:
    listed = [Nwfilter(name=Name("f0"), rules=tuple(draw(st.lists(rules, max_size=3))))]
    if draw(flags):
        calls = (FilterReference(filter=Name("f0")),) if draw(flags) else ()
        listed.insert(0, Nwfilter(name=Name("f1"), references=calls, rules=tuple(draw(st.lists(rules, max_size=2)))))
    return listed


@st.composite
def networks(draw: st.DrawFn, number: int) -> Network:
    octet = 10 * number + draw(st.sampled_from([0, 0, 0, 1]))

    def address(last: int) -> Address:
        return Address(f"10.1.{octet}.{last}")

    hosts = draw(st.permutations(range(1, 5)))[: draw(numbers(0, 4))]
    reservations = tuple(
        DhcpHost(ip=address(10 + place), mac=mac(held), name=f"h{held}" if draw(flags) else None)
        for place, held in enumerate(hosts)
    )
    spans = ((100, 120), (130, 140))[: draw(numbers(0, 2))]
    dhcp = Dhcp(
        ranges=tuple(DhcpRange(start=address(low), end=address(high)) for low, high in spans), hosts=reservations
    )
    answers = Dns(
        hosts=tuple(
            DnsHost(
                ip=address(10 + held), names=tuple(draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True)))
            )
            for held in range(draw(numbers(0, 2)))
        ),
        txt=tuple(
            DnsTxt(name=f"t{held}", value=draw(st.sampled_from(["x", "y"]))) for held in range(draw(numbers(0, 2)))
        ),
        srv=tuple(
            DnsSrv(service=f"s{held}", protocol="tcp", domain="lab", target="h", port=draw(st.sampled_from([80, 81])))
            for held in range(draw(numbers(0, 1)))
        ),
    )
    return Network(
        name=Name(f"n{number}"),
        forward=draw(st.sampled_from(["none", "nat", "route"])),
        domain=draw(st.sampled_from([None, "lab.example"])),
        subnets=(Subnet(address=Cidr(f"10.1.{octet}.1/24"), dhcp=dhcp if hosts or spans else None),),
        dns=draw(st.sampled_from([None, answers])) if answers.hosts or answers.txt or answers.srv else None,
        port_groups=tuple(PortGroup(name=Name(f"g{held}"), default=draw(flags)) for held in range(draw(numbers(0, 1)))),
        active=draw(st.sampled_from([True, True, True, False])) if number else True,
        autostart=draw(flags),
    )


@st.composite
def bridges(draw: st.DrawFn, number: int) -> Bridge:
    tunnel = Vxlan(id=100 + number, local=Address("10.9.0.1"), peers=(Address(f"10.9.0.{2 + draw(numbers(0, 1))}"),))
    return Bridge(
        name=DeviceName(f"br{number}"),
        type=draw(st.sampled_from(["linux", "openvswitch"])),
        uplink=DeviceName(f"eth{1 + number}") if draw(flags) else None,
        vxlan=tunnel if draw(flags) else None,
        stp=draw(flags),
    )


@st.composite
def settled_domains(draw: st.DrawFn, name: str, held: Slice) -> Domain:
    """A machine of the strategy for lenses, that stands on what the slice has."""
    made = draw(domains(virt_type="qemu"))
    free = [volume for volume in held.volumes if volume.name == ("top" if name == "d0" else "none")]
    disks = [_disk(disk, place, name, free) for place, disk in enumerate(made.disks)]
    cards = tuple(_card(card, number, held) for number, card in enumerate(made.interfaces))
    return replace(
        made,
        name=Name(name),
        uuid=None,
        memory=ByteSize(draw(st.sampled_from([16, 16, 16, 32])) * MEBIBYTE),
        memory_max=made.memory_max and ByteSize(draw(st.sampled_from([32, 64])) * MEBIBYTE),
        disks=tuple(disk for disk in disks if disk is not None),
        interfaces=cards,
        graphics=tuple(replace(console, port=None) for console in made.graphics),
        active=draw(st.sampled_from([True, True, True, False])),
        on_boot=draw(st.sampled_from(get_args(OnBoot))),
        stop_timeout=0,
    )


def _disk(disk: Disk, place: int, name: str, free: list[Volume]) -> Disk | None:
    if disk.device == "cdrom":
        return disk
    if disk.shareable or disk.read_only:
        form: dict[str, Any] = {"pool": None, "volume": None, "file": AbsolutePath("/srv/two.raw"), "format": "raw"}
        return replace(disk, **form, bus="virtio", read_only=True, shareable=False, copy_on_read=False, removable=False)
    if disk.volume is not None and free:
        volume = free.pop()
        return replace(disk, pool=volume.pool, volume=volume.name, format=volume.format)
    if name == "d0" and place == 0:
        return replace(disk, pool=None, volume=None, file=AbsolutePath("/srv/one.raw"), format="raw")
    return None


def _card(card: Interface, number: int, held: Slice) -> Interface:
    plug: dict[str, Any] = {}
    if card.network is not None:
        plug = {"network": Name("n0"), "port_group": None}
    named = [nwfilter.name for nwfilter in held.nwfilters]
    chosen = named[len(card.filter) % len(named)] if card.filter and named else None
    return replace(
        card,
        **plug,
        mac=card.mac and mac(0x40 + number),
        filter=chosen,
        filter_parameters=card.filter_parameters if chosen else None,
    )


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    pools_held = [draw(pools(name)) for name in ("a", "b")[: draw(numbers(0, 2))]]
    held = Slice(
        secrets=tuple(Secret(name=Name(name), description=draw(maybe(st.just("why")))) for name in ("p", "q")),
        pools=tuple(pools_held),
        volumes=tuple(volume for pool in pools_held for volume in draw(volumes(pool.name))),
        nwfilters=tuple(draw(nwfilters())),
        bridges=tuple(draw(bridges(number)) for number in range(draw(numbers(0, 2)))),
        networks=tuple(draw(networks(number)) for number in range(draw(numbers(1, 2)))),
    )
    machines = tuple(draw(settled_domains(name, held)) for name in ("d0", "d1")[: draw(numbers(0, 2))])
    return marked(replace(held, domains=machines))


permissions = st.builds(
    Permission,
    restart=flags,
    recreate=flags,
    prune=flags,
    data_loss=st.sampled_from([(), ("volume a/base", "volume a/top"), ("volume b/base", "volume b/top")]),
)


@st.composite
def pairs(draw: st.DrawFn) -> Case:
    """A host as one slice made it, and another slice that it should have next."""
    before = draw(slices())
    after = draw(slices())
    return Case(
        name="generated",
        before=before,
        after=after,
        permission=draw(permissions),
        values_before=VALUES,
        values=draw(st.sampled_from([VALUES, {**VALUES, "p": b"rotated3"}])),
        files=FILES,
    )
