# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared, as rows: who is granted what from either side, one row a pair, and nothing of passwords."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.errors import DeclarationError
from dosvm.site.listing import LISTINGS, listed
from dosvm.site.load import load

DECLARED: dict[str, Any] = {
    "dos_project_groups": {"web": {"directory": "/srv/web"}, "lone": {"directory": "/srv/lone"}},
    "dos_projects": {
        "shop": {"groups": ["web"], "administrators": ["ada"], "host_groups": ["fast"], "subnets": ["lan"]},
        "blog": {"groups": ["web"], "active": False, "description": "closed"},
    },
    "dos_users": {
        "ada": {"label": "Ada Lovelace", "phone": "1815"},
        "bob": {"project": "blog", "frozen": True},
        "root": {"role": "system"},
    },
    "dos_host_groups": {
        "fast": {"hosts": ["h1"]},
        "rack": {"hosts": ["h1", "h2"], "key": "rack", "projects": ["blog"]},
    },
    "dos_secrets": {
        "disk": {"value": "hunter22", "label": "磁盘"},
        "idle": {"value": "hunter23", "usage_type": "iscsi"},
    },
    "dos_pools": {
        "fast": {"path": "/srv/fast", "host": "h1"},
        "san": {"type": "logical", "host": "h2", "source": {"devices": ["/dev/sdb"]}},
    },
    "dos_images": {"debian": {"file": "/srv/debian.img", "format": "raw", "project": "shop"}},
    "dos_volumes": {
        "root": {"pool": "fast", "image": "debian"},
        "monday": {"pool": "fast", "base": "root"},
        "data": {"pool": "fast", "capacity": "1 GiB", "project": "shop", "encryption": "disk"},
    },
    "dos_subnets": {
        "lan": {
            "address": "10.0.0.0/24",
            "gateway": "10.0.0.1",
            "pool": [{"start": "10.0.0.100", "end": "10.0.0.199"}],
            "dhcp": {},
            "projects": ["blog"],
        },
        "six": {"address": "2001:db8::/64", "gateway": "2001:db8::1", "dns": {"enabled": False}, "label": "六"},
    },
    "dos_networks": {
        "lan": {"type": "nat", "subnet": "lan", "subnet6": "six", "forward_interface": "eth0", "host": "h1"},
        "office": {"type": "bridge", "bridge": "br0", "forward_interface": "eth1", "label": "办公"},
    },
    "dos_filters": {
        "no-telnet": {"rules": [{"action": "drop", "direction": "in", "protocol": "tcp"}]},
        "strict": {"references": [{"filter": "no-telnet"}], "xml": "<rule action='drop' direction='in'/>"},
    },
    "dos_security_groups": {"raw": {"filter": "strict"}, "web": {"rules": [{"protocol": "tcp", "ports": [80]}]}},
    "dos_instances": {
        "store": {
            "project": "shop",
            "memory": "64 MiB",
            "disks": [{"volume": "data"}, {"image": "debian"}],
            "interfaces": [{"network": "lan", "security_group": "web"}],
        },
        "web": {"project": "shop", "memory": "64 MiB", "vms": {"web-1": {"power": "off"}, "web-2": {"host": "h2"}}},
        "db": {"project": "shop", "memory": "64 MiB", "enabled": False, "vms": {"db-1": {}}},
    },
}
SITE = load(DECLARED, hosts=("h1", "h2"), check=False)


def names(kind: str, **wish: Any) -> list[str]:
    return [str(row["name"]) for row in listed(SITE, kind, **wish)]


def test_a_grant_shows_from_either_side() -> None:
    held = {row["name"]: (row["hosts"], row["projects"]) for row in listed(SITE, "host_groups")}
    assert held == {"fast": (["h1"], ["shop"]), "rack": (["h1", "h2"], ["blog"])}


def test_projects_by_part_of_their_name_and_by_whether_they_are_active() -> None:
    assert names("projects") == ["blog", "shop"]
    assert names("projects", name="lo") == ["blog"]
    assert names("projects", active=True) == ["shop"]
    assert names("projects", name="lo", active=True) == []
    assert listed(SITE, "projects", name="blog")[0]["administrators"] == ["bob"]


def test_project_groups_have_a_row_for_each_pair_and_one_without_projects() -> None:
    pairs = [(row["name"], row["project"]) for row in listed(SITE, "project_groups")]
    assert pairs == [("lone", None), ("web", "blog"), ("web", "shop")]
    assert names("project_groups", project="blog") == ["web"]


def test_users_are_found_by_either_name_and_show_no_password() -> None:
    assert names("users", name="Lovelace") == ["ada"]
    assert [(row["name"], row["project"], row["frozen"]) for row in listed(SITE, "users")] == [
        ("ada", "shop", False),
        ("bob", "blog", True),
        ("root", None, False),
    ]
    assert names("users", active=False) == ["bob"]
    assert not any("password" in row for row in listed(SITE, "users"))


def test_instances_say_how_many_machines_they_have_and_whether_it_may_be_more_than_one() -> None:
    """INST-06, INST-10."""
    held = {row["name"]: (row["machines"], row["unique"], row["enabled"]) for row in listed(SITE, "instances")}
    assert held == {"db": (1, False, False), "store": (0, True, True), "web": (2, False, True)}
    assert names("instances", active=True, project="shop") == ["store", "web"]


def test_machines_of_a_project() -> None:
    assert names("machines", project="shop") == ["db-1", "web-1", "web-2"]
    assert names("machines", project="shop", active=True) == ["web-1", "web-2"]
    assert names("machines", project="blog") == []
    assert [row["host"] for row in listed(SITE, "machines", name="web")] == [None, "h2"]


def test_storage_says_who_uses_it() -> None:
    used = {
        kind: {row["name"]: row["used_by"] for row in listed(SITE, kind)} for kind in ("volumes", "images", "secrets")
    }
    assert used["volumes"] == {"data": ["store"], "monday": [], "root": ["monday"]}
    assert used["images"] == {"debian": ["root", "store"]}
    assert used["secrets"] == {"disk": ["data"], "idle": []}


def test_pools_are_found_by_their_type_and_secrets_by_label_and_use() -> None:
    assert names("pools", name="logical") == ["san"]
    assert [(row["hosts"], row["projects"]) for row in listed(SITE, "pools")] == [(["h1"], "all"), (["h2"], "all")]
    assert names("secrets", name="磁") == ["disk"]
    assert names("secrets", name="iscsi") == ["idle"]
    assert "hunter" not in str(listed(SITE, "secrets"))
    assert names("volumes", project="shop") == ["data"]


@pytest.mark.parametrize("kind", LISTINGS)
def test_every_row_has_what_its_table_shows(kind: str) -> None:
    for row in LISTINGS[kind].rows(SITE):
        assert set(LISTINGS[kind].columns) <= set(row)
        assert set(LISTINGS[kind].found_by) <= set(row)


def test_a_history_is_coarser_than_what_it_is_made_of() -> None:
    with pytest.raises(
        DeclarationError, match=r"dos_monitoring\.history: 60 is not more than sample, write 61 or more"
    ):
        load({"dos_monitoring": {"sample": 60}}, hosts=("h1",))


def test_networks_say_where_they_are_and_what_they_stand_on() -> None:
    """NET-07."""
    lan, office = listed(SITE, "networks")
    assert (lan["hosts"], lan["interfaces"], lan["gateways"]) == (["h1"], ["eth0"], ["10.0.0.1", "2001:db8::1"])
    assert lan["subnets"] == ["lan", "six"]
    assert (office["hosts"], office["interfaces"], office["bridge"]) == ("all", ["eth1"], "br0")
    assert names("networks", name="办") == ["office"]


def test_subnets_are_found_by_address_and_family() -> None:
    """SUBN-06; a grant shows from either side (SUBN-09)."""
    assert names("subnets", name="10.0.") == ["lan"]
    assert names("subnets", name="IPv6") == ["six"]
    lan, six = listed(SITE, "subnets")
    assert (lan["dhcp"], lan["dns"], lan["pool"]) == (True, True, ["10.0.0.100-10.0.0.199"])
    assert (six["dhcp"], six["dns"], six["projects"]) == (False, False, "all")
    assert [row["project"] for row in listed(SITE, "subnet_grants")] == ["blog", "shop"]
    assert names("subnet_grants", project="shop") == ["lan"]


def test_filters_and_groups_say_who_uses_them() -> None:
    """NWF-02, NWF-09; what is used cannot go (NWF-03)."""
    found = {row["name"]: (row["rules"], row["calls"], row["used_by"]) for row in listed(SITE, "filters")}
    assert found == {"no-telnet": (1, [], ["strict"]), "strict": (1, ["no-telnet"], ["raw"])}
    groups = {row["name"]: (row["filter"], row["rules"], row["used_by"]) for row in listed(SITE, "security_groups")}
    assert groups == {"raw": ("strict", None, []), "web": (None, 1, ["store"])}


def test_routes_are_those_of_what_is_not_translated() -> None:
    """NET-17; IPv6 of a NAT network is routed (NET-15)."""
    assert [(row["name"], str(row["to"]), row["via"]) for row in listed(SITE, "routes")] == [
        ("lan", "2001:db8::/64", ["h1"])
    ]
    gateway = {"forward": "route", "host": "h2"}
    more = {
        "dos_subnets": {
            "a": {"address": "10.1.0.0/24", "gateway": "10.1.0.1"},
            "b": {"address": "10.2.0.0/24", "gateway": "10.2.0.1", "automatic_gateway": gateway},
            "c": {"address": "10.3.0.0/24", "gateway": "10.3.0.1", "automatic_gateway": {}},
            "c6": {"address": "2001:db8:3::/64", "gateway": "2001:db8:3::1", "automatic_gateway": {}},
        },
        "dos_networks": {
            "a": {"type": "route", "subnet": "a"},
            "b": {"type": "bridge", "bridge": "br1", "subnet": "b"},
            "c": {"type": "bridge", "bridge": "br2", "subnet": "c", "subnet6": "c6"},
        },
    }
    held = load(more, hosts=("h1", "h2"), check=False)
    assert [(row["name"], str(row["to"]), row["via"]) for row in listed(held, "routes")] == [
        ("a", "10.1.0.0/24", "all"),
        ("b", "10.2.0.0/24", ["h2"]),
        ("c", "2001:db8:3::/64", "its gateway"),
    ]
