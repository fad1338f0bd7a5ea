# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances and their machines as rows: what `listing.py` shows of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .index import Index
from .site import Site
from .validate_machines import is_unique


def instances(site: Site) -> Iterator[Mapping[str, Any]]:
    """INST-06. When one was made, its declaration does not say; when each of its machines was, `dos.vm.host_info` does."""
    index = Index(site)
    for name, held in sorted(site.instances.items()):
        yield {
            "name": name,
            "label": held.label,
            "project": held.project,
            "host": held.host or held.host_group,
            "vcpus": held.vcpus,
            "memory": str(held.memory),
            "enabled": held.enabled,
            "machines": len(held.machines(name)),
            "unique": is_unique(index, name, held),
        }


def machines(site: Site) -> Iterator[Mapping[str, Any]]:
    """PROJ-09, VM-T1.1, the declared part of it; where they run and how they are reached `dos.vm.status` shows."""
    for instance, held in sorted(site.instances.items()):
        for name, vm in held.machines(instance).items():
            yield {
                "project": held.project,
                "instance": instance,
                "name": name,
                "enabled": held.enabled,
                "power": vm.power,
                "host": vm.host or held.host or held.host_group,
            }
