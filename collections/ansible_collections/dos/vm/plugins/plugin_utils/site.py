# SPDX-License-Identifier: GPL-3.0-or-later
"""The site, as the action plugins read it from Ansible's variables and from what the hosts told of themselves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.compile.site import HostState
from ansible_collections.dos.vm.plugins.module_utils.compile.states import HostVm, Kept, Plug, Tunnel, WrittenDisk
from ansible_collections.dos.vm.plugins.module_utils.intent.power import Order
from ansible_collections.dos.vm.plugins.module_utils.model.answer import (
    Looked,
    SeenDisk,
    SeenDomain,
    SeenNetwork,
)
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.site.device_sources import Source
from ansible_collections.dos.vm.plugins.module_utils.site.index import Finding
from ansible_collections.dos.vm.plugins.module_utils.site.load import load, located
from ansible_collections.dos.vm.plugins.module_utils.site.merge import guard, merge
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.plugin_utils.variables import declared_variables, refuse_facts, where

GROUP = "dos_hosts"
SECRETS = "dos_secrets"
FACTS = "dos_run_facts"  # what `dos.vm.host_info` is registered as


class SiteReader:
    """Reads the declaration out of the variables of the task it runs in."""

    def __init__(self, templar: Any, variables: Mapping[str, Any]) -> None:
        self._templar, self._variables = templar, variables

    def load(self, *, check: bool = True, used: Mapping[tuple[str, str], int] | None = None) -> Site:
        """The site; raises `DeclarationError` with all its problems. `check=False` skips the rules, for the second reading.

        `used` is what projects used of their quotas before.
        """
        declared = self.declared()
        return load(
            declared,
            hosts=self.hosts(),
            groups=self.groups(),
            where=where,
            check=check,
            used=used,
            address_of=self._address_of,
        )

    def refuse(self, found: Iterable[Finding]) -> None:
        """Raises `DeclarationError` for what rules found once the hosts were read, with the file and line of each place."""
        if listed := list(found):
            raise located(listed, self.declared(), where)

    def declared(self) -> dict[str, Any]:
        """Our variables, their templates done. Raises `DeclarationError` for those that nobody can have meant."""
        refuse_facts(str(self._variables.get("inventory_hostname", "")), self._variables)
        raw = declared_variables(self._variables)
        guard(raw, where)
        declared = {name: self._templar.template(value) for name, value in raw.items()}
        guard(declared, where)  # a template of one line can stand for any number of values
        return declared

    def located(self, found: Iterable[Finding]) -> list[str]:
        """Findings as sentences, with file and line of both places."""
        held = list(found)
        return list(map(str, located(held, self.declared(), where).problems)) if held else []

    def hosts(self) -> tuple[str, ...]:
        """The hosts that may run machines: the group `dos_hosts`, or those of the play where there is no such group."""
        groups = self._variables.get("groups", {})
        return tuple(groups.get(GROUP) or self._variables.get("ansible_play_hosts_all", ()))

    def groups(self) -> dict[str, list[str]]:
        """The inventory's groups with their hosts."""
        held: dict[str, list[str]] = self._variables.get("groups", {})
        return held

    def _address_of(self, host: str) -> object:
        """Where tunnels to a host end: what the inventory says, or where Ansible reaches it."""
        held = self._variables["hostvars"].get(host, {})
        refuse_facts(host, held)
        return held.get("dos_address") or held.get("ansible_host")

    def secret_values(self, names: Iterable[str]) -> dict[str, str]:
        """The values of the secrets that are declared under these names; a name without a value is left out."""
        raw = {name: value for name, value in declared_variables(self._variables).items() if name.startswith(SECRETS)}
        declared = merge({name: self._templar.template(value) for name, value in raw.items()}, where)[0]["secrets"]
        held = {name: declared.get(name, {}).get("value") for name in names}
        return {name: str(value) for name, value in held.items() if value is not None}

    @staticmethod
    def counts(site: Site) -> dict[str, int]:
        """How much there is of each kind."""
        held = {field.name: getattr(site, field.name) for field in dataclasses.fields(site)}
        return {name: len(value) for name, value in held.items() if isinstance(value, Mapping)}


def host_states(variables: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, HostState]:
    """What each host told of itself; one that did not answer is left out, and nothing new is placed on it."""
    answers = ((host, variables["hostvars"].get(host, {}).get(FACTS) or {}) for host in hosts)
    return {
        host: _state(decode(Looked, answer, path=f"facts of {host}"))
        for host, answer in answers
        if answer.get("facts") and not answer.get("unreachable")
    }


def _state(seen: Looked) -> HostState:
    domains = seen.domains
    return HostState(
        facts=seen.facts,
        domains={domain.name: domain.ours for domain in domains},
        active={domain.name: (domain.vcpus or 0, domain.memory or 0) for domain in domains if domain.active},
        gateways={gateway.name: gateway.active for gateway in seen.gateways if gateway.ours},
        volumes=frozenset(volume.name for volume in seen.volumes),
        pools={pool.name: pool.capacity for pool in seen.pools if pool.capacity},
        orders=tuple(_orders(domains)),
        epochs={domain.name: domain.epoch for domain in domains if domain.epoch},
        uuids={domain.name: domain.uuid for domain in domains if domain.uuid},
        addresses=tuple(_addresses((*seen.networks, *seen.gateways))),
        vms={domain.name: _vm(domain) for domain in domains if domain.ours},
        backings={volume.name: volume.backing for volume in seen.volumes if volume.backing},
        disks={domain.name: frozenset(domain.disks) for domain in domains},
        missing_files=frozenset(seen.missing_files),
        capacities={volume.name: volume.capacity for volume in seen.volumes if volume.capacity},
        written=tuple(_written(domains)),
        tunnels={(end.id, end.port): Tunnel(local=end.local, peers=frozenset(end.peers)) for end in seen.tunnels},
    )


def _vm(domain: SeenDomain) -> HostVm:
    """A VM of the site, of what its host told of it."""
    return HostVm(
        project=domain.project or "",
        instance=(domain.origin or "").removeprefix("dos_instances.").removesuffix(f".vms.{domain.name}"),
        vcpus=domain.vcpus or 0,
        memory=domain.memory or 0,
        plugs=tuple(
            Plug(
                mac=interface.mac,
                network=interface.network or "",
                bridge=interface.bridge or "",
                filter=interface.filter or "",
                ips=interface.ips,
            )
            for interface in domain.interfaces
        ),
        writes=tuple(map(_source, domain.writes)),
    )


def _source(disk: SeenDisk) -> Source:
    return Source(
        name=disk.name,
        pool=disk.pool or "",
        protocol=disk.protocol or "",
        servers=disk.servers,
        shareable=disk.shareable,
    )


def _written(domains: Iterable[SeenDomain]) -> Iterator[WrittenDisk]:
    """What the running domains of a host write."""
    for domain in domains:
        for disk in domain.writes if domain.active else ():
            yield WrittenDisk(domain.name, _source(disk), disk.path or "", frozenset(disk.marks))


def _addresses(networks: Iterable[SeenNetwork]) -> Iterator[Kept]:
    """What our networks and gateways of a host have reserved for cards, or handed out."""
    for network in networks:
        if not network.ours:
            continue
        for row in network.reservations:
            if row.ip:
                yield Kept(network=network.name, ip=row.ip, mac=(row.mac or "").lower(), name=row.name or "")
        for row in network.leases:
            if row.ip:
                mac, name = (row.mac or "").lower(), row.hostname or ""
                yield Kept(network=network.name, ip=row.ip, mac=mac, name=name, firm=False)


def _orders(domains: Iterable[SeenDomain]) -> Iterator[Order]:
    """The power overrides that the VMs of a host carry, and that one was released."""
    for domain in domains:
        orders = domain.orders
        if orders is None or not domain.ours:
            continue
        for override in orders.overrides:
            yield Order(
                vm=domain.name,
                on=override.power == "on",
                until=math.inf if override.until is None else override.until,
                against=None if override.against is None else override.against == "on",
                number=override.number,
            )
        if orders.number and not orders.overrides:
            yield Order(vm=domain.name, on=None, number=orders.number)
