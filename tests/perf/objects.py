# SPDX-License-Identifier: GPL-3.0-or-later
"""What every way makes in `bench_host`: a pool, volumes, active networks, and machines that are off.

The same objects four times over: as a slice, as the inventory of a site, as libvirt's XML, and as tasks of community.libvirt.
The XML is what dos.vm itself would write, so that nobody gets more or less to do.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from dosvm.apply import converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.plan.action import CreateVolume, Define

# What `qemu:///system` means anyway. Runs of dos.vm wait for each other by URI, and those of others would be measured with ours;
# who measures beside somebody who does gives another spelling.
URI = os.environ.get("DOS_BENCH_URI", "qemu:///system?mode=auto")
Raw = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How much of what there is. `changed` is the one change: a machine's memory, and the address reserved for another.

    The first `running` machines run: firmware that finds nothing on an empty disk, and stops.
    """

    domains: int
    volumes: int
    networks: int
    prefix: str = "bench"
    octet: int = 213  # of 10.octet.n.0/24
    changed: bool = False
    running: int = 0

    @property
    def pool(self) -> str:
        return f"{self.prefix}-pool"

    @property
    def path(self) -> str:
        return f"/var/lib/dos-vm/{self.prefix}"

    def owns(self, name: str) -> bool:
        """Whether an object of this name is one of these."""
        return name == self.pool or re.fullmatch(rf"{re.escape(self.prefix)}-\d+(\.qcow2)?", name) is not None

    def name(self, number: int) -> str:
        return f"{self.prefix}-{number}"

    def volume(self, number: int) -> str:
        return f"{self.name(number)}.qcow2"

    def bridge(self, number: int) -> str:
        return f"vb{self.octet}-{number}"

    def network(self, domain: int) -> int:
        """The network that a machine is plugged into."""
        return domain % self.networks

    def mac(self, domain: int) -> str:
        return f"52:54:00:{self.octet:02x}:{domain // 256:02x}:{domain % 256:02x}"

    def ip(self, domain: int) -> str:
        last = 10 + domain // self.networks
        moved = 100 if self.changed and domain == 0 else 0
        return f"10.{self.octet}.{self.network(domain)}.{last + moved}"

    def memory(self, domain: int) -> str:
        return "24 MiB" if self.changed and domain == self.domains - 1 else "16 MiB"

    # As a slice

    def slice(self) -> Raw:
        """What `dos.vm.host` is given."""
        return {
            "site": self.prefix,
            "pools": [{"name": self.pool, "path": self.path}],
            "volumes": [
                {"name": self.volume(number), "pool": self.pool, "capacity": "64 MiB"} for number in range(self.volumes)
            ],
            "networks": [self._network(number) for number in range(self.networks)],
            "domains": [self._domain(number) for number in range(self.domains)],
        }

    def _network(self, number: int) -> Raw:
        hosts = [
            {"mac": self.mac(domain), "ip": self.ip(domain), "name": self.name(domain)}
            for domain in range(self.domains)
            if self.network(domain) == number
        ]
        address = f"10.{self.octet}.{number}.1/24"
        held = {"name": self.name(number), "bridge": self.bridge(number), "forward": "none"}
        return {**held, "subnets": [{"address": address, "dhcp": {"hosts": hosts}}], "mark": {"site": self.prefix}}

    def _domain(self, number: int) -> Raw:
        return {
            "name": self.name(number),
            "memory": self.memory(number),
            "active": number < self.running,
            "virt_type": "qemu",
            "boot": ["hd"],
            "disks": [{"pool": self.pool, "volume": self.volume(number % self.volumes), "format": "qcow2"}],
            "interfaces": [{"network": self.name(self.network(number)), "mac": self.mac(number)}],
            "mark": {"site": self.prefix},
        }

    # As a site

    def site(self) -> Raw:
        """The variables of an inventory with these objects, a machine to an instance."""
        lans = {self.name(number): number for number in range(self.networks)}
        return {
            "dos_site": self.prefix,
            "dos_uri": URI,
            "dos_projects": {self.prefix: {}},
            "dos_pools": {self.pool: {"path": self.path}},
            "dos_volumes": {
                self.volume(number): {"pool": self.pool, "capacity": "64 MiB"} for number in range(self.volumes)
            },
            "dos_subnets": {name: self._site_subnet(number) for name, number in lans.items()},
            "dos_networks": {
                name: {"type": "isolated", "subnet": name, "bridge": self.bridge(number)}
                for name, number in lans.items()
            },
            "dos_instances": {f"{self.name(number)}-i": self._instance(number) for number in range(self.domains)},
        }

    def _site_subnet(self, number: int) -> Raw:
        net = f"10.{self.octet}.{number}"
        return {"address": f"{net}.0/24", "gateway": f"{net}.1", "dhcp": {}}

    def _instance(self, number: int) -> Raw:
        lan = self.name(self.network(number))
        return {
            "project": self.prefix,
            "memory": self.memory(number),
            "disks": [{"volume": self.volume(number % self.volumes)}],
            "interfaces": [{"network": lan, "mac": self.mac(number)}],
            "virt_type": "qemu",
            "boot": ["hd"],
            "vms": {
                self.name(number): {
                    "power": "on" if number < self.running else "off",
                    "ip": {lan: self.ip(number)},
                }
            },
        }

    # As XML

    def xml(self) -> dict[str, dict[str, str]]:
        """The definitions by kind and name, as dos.vm would write them on a host that has none of these objects."""
        hypervisor = LibvirtHypervisor(URI)
        try:
            outcome = converge(decode(Slice, self.slice()), hypervisor, permission=Permission(), dry_run=True)
        finally:
            hypervisor.close()
        found: dict[str, dict[str, str]] = {"pool": {}, "volume": {}, "network": {}, "domain": {}}
        for plan in outcome.plans:
            for action in plan.actions:
                if isinstance(action, (Define, CreateVolume)):
                    found[action.address.kind][action.address.name.rpartition("/")[2]] = action.xml
        return found

    def reservation(self) -> tuple[str, str]:
        """The network of the one reservation that changes, and the reservation as XML."""
        return self.name(self.network(0)), f'<host mac="{self.mac(0)}" name="{self.name(0)}" ip="{self.ip(0)}"/>'

    # As tasks of community.libvirt

    def loop(self, xml: dict[str, dict[str, str]]) -> list[Raw]:
        """One item for each object. What these tasks leave alone once it exists (pools, volumes, networks) stays unchecked."""
        named = [{"name": name, "xml": text} for name, text in xml["network"].items()]
        tasks = [
            {"ansible.builtin.file": {"path": self.path, "state": "directory", "mode": "0711"}},
            _task("virt_pool", name=self.pool, command="define", xml=xml["pool"][self.pool]),
            _task("virt_pool", name=self.pool, state="active"),
            _task("virt_volume", list(xml["volume"].values()), pool=self.pool, command="create", xml="{{ item }}"),
            _task("virt_net", named, name="{{ item.name }}", command="define", xml="{{ item.xml }}"),
            _task("virt_net", list(xml["network"]), name="{{ item }}", state="active"),
            _task("virt", list(xml["domain"].values()), command="define", xml="{{ item }}"),
        ]
        if self.changed:
            network, entry = self.reservation()
            tasks.append(_task("virt_net", name=network, command="modify", xml=entry))
        return tasks


def _task(module: str, items: list[Any] | None = None, **arguments: str) -> Raw:
    task: Raw = {f"community.libvirt.{module}": {**arguments, "uri": URI}}
    return task if items is None else {**task, "loop": items, "loop_control": {"label": "object"}}
