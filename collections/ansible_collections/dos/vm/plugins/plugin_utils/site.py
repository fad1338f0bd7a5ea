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
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.model.host import HostFacts
from ansible_collections.dos.vm.plugins.module_utils.model.types import Address, Uuid
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
        return {name: self._templar.template(value) for name, value in raw.items()}

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
    found: dict[str, HostState] = {}
    for host in hosts:
        told = variables["hostvars"].get(host, {}).get(FACTS) or {}
        if told.get("facts"):
            found[host] = HostState(
                facts=decode(HostFacts, told["facts"], path=f"facts of {host}"),
                domains={held["name"]: bool(held["ours"]) for held in told["domains"]},
                active={
                    held["name"]: (int(held["vcpus"] or 0), int(held["memory"] or 0))
                    for held in told["domains"]
                    if held["active"]
                },
                gateways={held["name"]: bool(held["active"]) for held in told.get("gateways", ()) if held["ours"]},
                volumes=frozenset(held["name"] for held in told["volumes"]),
                pools={held["name"]: int(held["capacity"]) for held in told["pools"] if held.get("capacity")},
                orders=tuple(_orders(told)),
                epochs={held["name"]: int(held["epoch"]) for held in told["domains"] if held.get("epoch")},
                uuids={held["name"]: Uuid(held["uuid"]) for held in told["domains"] if held.get("uuid")},
                addresses=tuple(_addresses(told)),
                vms={held["name"]: _vm(held) for held in told["domains"] if held["ours"]},
                capacities={held["name"]: int(held["capacity"]) for held in told["volumes"] if held.get("capacity")},
                written=tuple(_written(told)),
                tunnels={(int(held["id"]), int(held["port"])): _tunnel(held) for held in told.get("tunnels", ())},
            )
    return found


def _tunnel(held: Mapping[str, Any]) -> Tunnel:
    local = Address(held["local"]) if held.get("local") else None
    return Tunnel(local=local, peers=frozenset(map(Address, held["peers"])))


def _vm(held: Mapping[str, Any]) -> HostVm:
    """A VM of the site, of what its host told of it."""
    origin = str(held.get("origin") or "")
    return HostVm(
        project=held.get("project") or "",
        instance=origin.removeprefix("dos_instances.").removesuffix(f".vms.{held['name']}"),
        vcpus=int(held.get("vcpus") or 0),
        memory=int(held.get("memory") or 0),
        plugs=tuple(
            Plug(
                mac=plug["mac"],
                network=plug.get("network") or "",
                bridge=plug.get("bridge") or "",
                filter=plug.get("filter") or "",
                ips=tuple(plug.get("ips") or ()),
            )
            for plug in held.get("interfaces") or ()
        ),
        writes=tuple(map(_source, held.get("writes") or ())),
    )


def _source(disk: Mapping[str, Any]) -> Source:
    return Source(
        name=disk["name"],
        pool=disk.get("pool") or "",
        protocol=disk.get("protocol") or "",
        servers=tuple(disk.get("servers") or ()),
        shareable=bool(disk.get("shareable")),
    )


def _written(told: Mapping[str, Any]) -> Iterator[WrittenDisk]:
    """What the running domains of a host write."""
    for held in told["domains"]:
        for disk in held.get("writes") or () if held["active"] else ():
            marks = frozenset(map(str, disk.get("marks") or ()))
            yield WrittenDisk(held["name"], _source(disk), str(disk.get("path") or ""), marks)


def _addresses(told: Mapping[str, Any]) -> Iterator[Kept]:
    """What our networks and gateways of a host have reserved for cards, or handed out."""
    for held in (*told.get("networks", ()), *told.get("gateways", ())):
        for kind, name in (("reservations", "name"), ("leases", "hostname")):
            for one in held.get(kind, ()) if held["ours"] else ():
                if one.get("ip"):
                    yield Kept(
                        network=held["name"],
                        ip=Address(one["ip"]),
                        mac=(one.get("mac") or "").lower(),
                        name=one.get(name) or "",
                        firm=kind == "reservations",
                    )


def _orders(told: Mapping[str, Any]) -> Iterator[Order]:
    """The power overrides that the VMs of a host carry, and that one was released."""
    for held in told["domains"]:
        said = held.get("orders") or {}
        overrides = said.get("overrides") or ()
        if not held["ours"]:
            continue
        for one in overrides:
            against, until = one.get("against"), one.get("until")
            yield Order(
                vm=held["name"],
                on=one["power"] == "on",
                until=math.inf if until is None else float(until),
                against=None if against is None else against == "on",
                number=int(one["number"]),
            )
        if said.get("number") and not overrides:
            yield Order(vm=held["name"], on=None, number=int(said["number"]))
