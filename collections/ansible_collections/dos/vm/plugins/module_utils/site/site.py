# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of what is declared: every kind by name, and the hosts there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model.types import AbsolutePath, Address, Name
from .assertion import Assertion
from .bound import Bound
from .filter import Filter
from .host import HostGroup, HostSettings
from .image import Image
from .instance import Instance
from .monitoring import Monitoring
from .network import Network
from .placement import Placement
from .pool import Pool
from .project import Project
from .project_group import ProjectGroup
from .secret import Secret
from .security_group import SecurityGroup
from .storage import Storage
from .subnet import Subnet
from .system import System
from .user import User
from .volume import Volume

# The kinds in the order they are read; each is a field of `Site` and, with dos_ before it, a variable.
KINDS: Mapping[str, type] = {
    "host_settings": HostSettings,
    "host_groups": HostGroup,
    "project_groups": ProjectGroup,
    "projects": Project,
    "users": User,
    "pools": Pool,
    "images": Image,
    "volumes": Volume,
    "subnets": Subnet,
    "networks": Network,
    "filters": Filter,
    "security_groups": SecurityGroup,
    "secrets": Secret,
    "instances": Instance,
    "assertions": Assertion,
}

# What there is one of in a site: no names, and the variable holds the fields themselves.
SINGLES: Mapping[str, type] = {"placement": Placement, "storage": Storage, "monitoring": Monitoring, "system": System}

DEFAULT_NAME = Name("dos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site. `hosts` are those of the inventory that may run machines."""

    name: Name = DEFAULT_NAME
    hosts: tuple[Name, ...] = ()
    placement: Placement = field(default_factory=Placement)
    storage: Storage = field(default_factory=Storage)
    monitoring: Monitoring = field(default_factory=Monitoring)
    system: System = field(default_factory=System)
    host_settings: Mapping[Name, HostSettings] = field(default_factory=dict)
    host_groups: Mapping[Name, HostGroup] = field(default_factory=dict)
    project_groups: Mapping[Name, ProjectGroup] = field(default_factory=dict)
    addresses: Mapping[Name, Address] = field(default_factory=dict)  # of hosts, where something needs to know them
    projects: Mapping[Name, Project] = field(default_factory=dict)
    users: Mapping[Name, User] = field(default_factory=dict)
    pools: Mapping[Name, Pool] = field(default_factory=dict)
    images: Mapping[Name, Image] = field(default_factory=dict)
    volumes: Mapping[Name, Volume] = field(default_factory=dict)
    subnets: Mapping[Name, Subnet] = field(default_factory=dict)
    networks: Mapping[Name, Network] = field(default_factory=dict)
    filters: Mapping[Name, Filter] = field(default_factory=dict)
    security_groups: Mapping[Name, SecurityGroup] = field(default_factory=dict)
    secrets: Mapping[Name, Secret] = field(default_factory=dict)
    instances: Mapping[Name, Instance] = field(default_factory=dict)
    assertions: Mapping[Name, Assertion] = field(default_factory=dict)

    def subnets_of(self, network: Network) -> list[Subnet]:
        """The subnets of a network that are declared, IPv4 before IPv6 where it has both."""
        return [self.subnets[name] for _, name in network.named_subnets() if name in self.subnets]

    def hosts_of(self, bound: Bound) -> frozenset[Name] | None:
        """The hosts an object is bound to, `None` when it is on all."""
        if bound.host is not None:
            return frozenset((bound.host,))
        return None if bound.hosts is None or bound.hosts == "all" else frozenset(bound.hosts)

    def members(self, group: Name) -> frozenset[Name]:
        """The hosts of a host group."""
        hosts = self.host_groups[group].hosts
        return frozenset(self.hosts if hosts == "all" else hosts or ())

    def overlays(self, host: str) -> AbsolutePath | None:
        """The directory of temporary overlays on a host: the host's own, or the site's (AMB-21)."""
        settings = self.host_settings.get(Name(host))
        return (settings.overlays if settings else None) or self.storage.overlays
