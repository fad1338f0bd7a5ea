# SPDX-License-Identifier: GPL-3.0-or-later
"""What a power operation would bring up or attach, judged by the rules of the site before any host is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.compile.admission import refused_starts
from ansible_collections.dos.vm.plugins.module_utils.compile.attached import refused_disks
from ansible_collections.dos.vm.plugins.module_utils.compile.placing import Situation
from ansible_collections.dos.vm.plugins.module_utils.compile.states import running_vms
from ansible_collections.dos.vm.plugins.module_utils.placement.room import Room
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.plugin_utils.placing import read_states, situate
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader
from ansible_collections.dos.vm.plugins.plugin_utils.store import opened, remembered, url_of


def refuse_starts(
    templar: Any, variables: Mapping[str, Any], reader: SiteReader, site: Site, names: frozenset[str]
) -> dict[str, dict[str, object]]:
    """By host, what all its VMs may have together, where one of these is to come up.

    Raises `DeclarationError` with every rule that VMs would break if they were on besides what is on now.
    """
    supposed, running = _supposed(templar, variables, site, names)
    rising = names - running
    if not rising:
        return {}
    reader.refuse(refused_starts(supposed, rising))
    return {str(room.host): _limits(room) for room in supposed.fleet.rooms}


def refuse_disks(templar: Any, variables: Mapping[str, Any], vm: str, host: str, device: str) -> None:
    """Raises `DeclarationError` where a disk that is to be attached to a VM is written by another VM."""
    reader = SiteReader(templar, variables)
    site = reader.load(check=False)
    supposed, _ = _supposed(templar, variables, site, frozenset())
    reader.refuse(refused_disks(supposed, vm, host, device))


def _supposed(
    templar: Any, variables: Mapping[str, Any], site: Site, names: frozenset[str]
) -> tuple[Situation, frozenset[str]]:
    """The site with these VMs on, besides those that run; and which run."""
    with opened(url_of(templar, variables, site.name, site.hosts), site.name, write=False) as store:
        held = remembered(store)
    states = read_states(variables, site.hosts)
    running = running_vms(states)
    return situate(site, variables, held=held, states=states, on=names | running), running


def _limits(room: Room) -> dict[str, object]:
    vcpus = {} if room.vcpus is None else {"max_vcpus": room.vcpus}
    # Of what runs in huge pages nothing is taken from the rest, and the host does not tell them apart.
    return vcpus if room.hugepages else {**vcpus, "max_memory": f"{int(room.memory)} B"}
