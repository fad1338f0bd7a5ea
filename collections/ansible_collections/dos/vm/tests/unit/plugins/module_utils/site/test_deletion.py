# SPDX-License-Identifier: GPL-3.0-or-later
"""What is used cannot be taken out of the files: the rest of the site would name what there is not."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.errors import DeclarationError
from dosvm.site.load import load

DECLARED: dict[str, dict[str, Any]] = {
    "dos_project_groups": {"web": {"directory": "/srv/web"}},
    "dos_host_groups": {"granted": {"hosts": ["h1"]}, "range": {"hosts": ["h1"]}, "other": {"hosts": ["h1"]}},
    "dos_pools": {"common": {"path": "/srv/common"}},
    "dos_secrets": {"key": {"value": "hush"}},
    "dos_volumes": {
        "data": {"pool": "common", "capacity": "1 GiB", "project": "shop", "encryption": "key"},
        "base": {"pool": "common", "capacity": "1 GiB", "project": "shop"},
        "layer": {"pool": "common", "capacity": "1 GiB", "project": "shop", "base": "base"},
    },
    "dos_users": {"ada": {"role": "system"}, "bob": {}},
    "dos_projects": {
        "shop": {"groups": ["web"], "host_groups": ["granted", "range"], "pools": ["common"], "administrators": ["bob"]}
    },
    "dos_subnets": {"lan": {"address": "10.0.0.0/24", "gateway": "10.0.0.1"}},
    "dos_networks": {"lan": {"type": "nat", "subnet": "lan"}},
    "dos_filters": {"top": {"references": [{"filter": "below"}]}, "below": {}},
    "dos_security_groups": {"web": {"filter": "top"}},
    "dos_instances": {
        "a": {
            "project": "shop",
            "memory": "64 MiB",
            "host_group": "range",
            "disks": [{"volume": "data"}],
            "interfaces": [{"network": "lan", "security_group": "web"}],
            "vms": {},
        }
    },
}

USED = [
    ("host_groups", "granted", "dos_projects.shop.host_groups[0]: host group 'granted' does not exist"),  # HGRP-03
    ("host_groups", "range", "dos_instances.a.host_group: host group 'range' does not exist"),  # HGRP-03
    ("project_groups", "web", "dos_projects.shop.groups[0]: project group 'web' does not exist"),  # PGRP-04
    ("pools", "common", "dos_projects.shop.pools[0]: pool 'common' does not exist"),  # PROJ-07
    ("users", "bob", "dos_projects.shop.administrators[0]: user 'bob' does not exist"),  # PROJ-06
    ("projects", "shop", "dos_instances.a.project: project 'shop' does not exist"),  # PROJ-01
    ("volumes", "data", "dos_instances.a.disks[0].volume: volume 'data' does not exist"),  # VOL-06
    ("volumes", "base", "dos_volumes.layer.base: volume 'base' does not exist"),  # VSNP-07, VSNP-09
    ("secrets", "key", "dos_volumes.data.encryption: secret 'key' does not exist"),  # SECO-06
    ("pools", "common", "dos_volumes.data.pool: pool 'common' does not exist"),  # POOL-06
    ("subnets", "lan", "dos_networks.lan.subnet: subnet 'lan' does not exist"),  # SUBN-08
    ("networks", "lan", "dos_instances.a.interfaces[0].network: network 'lan' does not exist"),  # NET-08
    ("filters", "below", "dos_filters.top.references[0].filter: filter 'below' does not exist"),  # NWF-03, LIMIT-20
    ("filters", "top", "dos_security_groups.web.filter: filter 'top' does not exist"),  # NWF-03, LIMIT-20
    ("security_groups", "web", "interfaces[0].security_group: security group 'web' does not exist"),  # NWF-09
]


def without(kind: str, name: str) -> dict[str, Any]:
    kept = {other: value for other, value in DECLARED[f"dos_{kind}"].items() if other != name}
    return {**DECLARED, f"dos_{kind}": kept}


@pytest.mark.parametrize(("kind", "name", "said"), USED)
def test_what_is_used_stays(kind: str, name: str, said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        load(without(kind, name), hosts=("h1",))
    assert said in str(refused.value)


def test_what_nobody_uses_may_go() -> None:
    assert "other" not in load(without("host_groups", "other"), hosts=("h1",)).host_groups


def test_the_last_group_of_a_project_stays_its_group() -> None:
    """PGRP-05."""
    alone = {**DECLARED, "dos_projects": {"shop": {**DECLARED["dos_projects"]["shop"], "groups": []}}}
    with pytest.raises(DeclarationError, match=r"dos_projects\.shop"):
        load(alone, hosts=("h1",))
