# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of `bench_host` by libvirt's calls alone, as a short script would have them: no comparison, no proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import libvirt
from objects import URI, Bench


@contextmanager
def connected() -> Iterator[Any]:
    """A connection of its own, as every run has."""
    held = libvirt.open(URI)
    try:
        yield held
    finally:
        held.close()


def read() -> int:
    """The definition of everything on the host, and the live one of what runs: what any tool must read that compares."""
    with connected() as held:
        networks, pools, domains = held.listAllNetworks(), held.listAllStoragePools(), held.listAllDomains()
        found = described(networks, libvirt.VIR_NETWORK_XML_INACTIVE)
        found += described(held.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE), 0)
        found += described(pools, libvirt.VIR_STORAGE_XML_INACTIVE)
        for pool in held.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
            with suppress(libvirt.libvirtError):
                found += described(pool.listAllVolumes(), 0)
        found += described(domains, libvirt.VIR_DOMAIN_XML_INACTIVE)
        return found + described(held.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE), 0)


def described(objects: list[Any], flags: int) -> int:
    """How many could be read: those of others come and go meanwhile."""
    found = 0
    for held in objects:
        with suppress(libvirt.libvirtError):
            held.XMLDesc(flags)
            found += 1
    return found


def apply(xml: dict[str, dict[str, str]]) -> None:
    """Everything from nothing."""
    with connected() as held:
        for text in xml["pool"].values():
            pool = held.storagePoolDefineXML(text)
            pool.build()
            pool.create()
        for text in xml["volume"].values():
            pool.createXML(text)
        for text in xml["network"].values():
            held.networkDefineXML(text).create()
        for text in xml["domain"].values():
            held.defineXML(text)


def change(bench: Bench, xml: dict[str, dict[str, str]]) -> None:
    """The one change, by one who knows where it is."""
    network, entry = bench.reservation()
    name = bench.name(bench.domains - 1)
    with connected() as held:
        # libvirt takes a definition of that name only with the UUID it gave to the first.
        uuid = held.lookupByName(name).UUIDString()
        held.defineXML(xml["domain"][name].replace("</name>", f"</name><uuid>{uuid}</uuid>", 1))
        held.networkLookupByName(network).update(
            libvirt.VIR_NETWORK_UPDATE_COMMAND_MODIFY,
            libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST,
            -1,
            entry,
            libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG,
        )


def start(bench: Bench) -> None:
    """The machines that run, one after the other."""
    with connected() as held:
        for number in range(bench.running):
            held.lookupByName(bench.name(number)).create()


def clear(bench: Bench) -> None:
    """Nothing of the benchmark stays."""
    with connected() as held:
        for domain in held.listAllDomains():
            if bench.owns(domain.name()):
                if domain.isActive():
                    domain.destroy()
                domain.undefine()
        for network in held.listAllNetworks():
            if bench.owns(network.name()):
                if network.isActive():
                    network.destroy()
                network.undefine()
        for pool in held.listAllStoragePools():
            if bench.owns(pool.name()):
                _clear_pool(pool)
    if Path(bench.path).is_dir():  # empty by now, or something is wrong
        Path(bench.path).rmdir()


def _clear_pool(pool: Any) -> None:
    if pool.isActive():
        for volume in pool.listAllVolumes():
            volume.delete()
        pool.destroy()
    pool.undefine()
