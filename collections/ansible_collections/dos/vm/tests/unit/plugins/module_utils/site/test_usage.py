# SPDX-License-Identifier: GPL-3.0-or-later
"""Quotas are sums over what is declared: they cannot drift, block growth, and take nothing away (QUOTA-01 … QUOTA-06)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from site_strategies import Declared, sites

from dosvm.errors import DeclarationError
from dosvm.site.load import load
from dosvm.site.site import Site
from dosvm.site.usage import QUOTAS, Used, rows, summary, used

SHOP: dict[str, Any] = {
    "dos_projects": {"shop": {"quota": {"vcpus": 4, "memory": "1 GiB"}}, "blog": {}},
    "dos_pools": {"fast": {"path": "/srv/fast"}},
    "dos_images": {
        "base": {"file": "/srv/a.img", "format": "qcow2", "project": "shop", "size": "3 GiB"},
        "free": {"file": "/srv/b.img", "format": "raw"},
    },
    "dos_volumes": {
        "data": {"pool": "fast", "capacity": "2 GiB", "project": "shop"},
        "layer": {"pool": "fast", "capacity": "2 GiB", "project": "shop", "base": "data"},
    },
    "dos_instances": {
        "web": {
            "project": "shop",
            "memory": "256 MiB",
            "vcpus": 2,
            "disks": [{"pool": "fast", "capacity": "1 GiB"}],
            "vms": {"web-1": {}, "web-2": {"power": "off"}},
        },
        "off": {"project": "shop", "memory": "1 GiB", "vcpus": 8, "enabled": False, "vms": {"off-1": {}}},
    },
}


def site(variables: dict[str, Any], before: Used | None = None, *, check: bool = True) -> Site:
    return load(variables, hosts=("h1",), used=before, check=check)


def limited(**quota: Any) -> dict[str, Any]:
    return {**SHOP, "dos_projects": {"shop": {"quota": quota}, "blog": {}}}


def test_what_counts() -> None:
    """AMB-06: processors and memory of machines that are on; logical capacity; volume snapshots; own images."""
    found = {quota: amount for (project, quota), amount in used(site(SHOP)).items() if project == "shop"}
    gib = 2**30
    assert found == {
        "instances": 2,
        "vcpus": 2,
        "memory": 256 * 2**20,
        "disk": 6 * gib,
        "images": 1,
        "image_size": 3 * gib,
        "snapshots": 1,
    }
    assert set(used(site(SHOP))) == {(project, quota) for project in ("shop", "blog") for quota in QUOTAS}


def test_a_line_says_before_after_and_limit() -> None:
    before = {("shop", "vcpus"): 1, ("shop", "memory"): 256 * 2**20}
    assert list(summary(rows(site(SHOP), before))) == ["project shop: vcpus 1 → 2 of 4, memory 256 MiB of 1 GiB"]
    assert list(summary(rows(site(SHOP)))) == ["project shop: vcpus 2 of 4, memory 256 MiB of 1 GiB"]


@pytest.mark.parametrize("quota", QUOTAS)
def test_each_quota_is_refused_by_name_with_limit_used_and_requested(quota: str) -> None:
    """QUOTA-02, VOL-03, IMG-10, VSNP-08."""
    amount = used(site(SHOP))["shop", quota]
    sizes = ("memory", "disk", "image_size")
    at = f"{amount} B" if quota in sizes else amount
    site(limited(**{quota: at}))
    below = f"{amount - 1} B" if quota in sizes else amount - 1
    with pytest.raises(DeclarationError, match=f"quota {quota} of project shop is .* used, .* requested") as refused:
        site(limited(**{quota: below}))
    assert len(refused.value.problems) == 1


def test_a_limit_below_what_is_used_keeps_that_and_gives_no_more() -> None:
    """QUOTA-06."""
    before = used(site(SHOP))
    lowered = limited(vcpus=1)
    site(lowered, before)
    more = {
        **lowered,
        "dos_instances": {**SHOP["dos_instances"], "new": {"project": "shop", "memory": "1 MiB", "vms": {"new": {}}}},
    }
    with pytest.raises(
        DeclarationError, match="quota vcpus of project shop is 1: 2 used, 1 requested, and it was 2 before"
    ):
        site(more, before)
    with pytest.raises(DeclarationError, match="quota vcpus of project shop is 1"):
        site(lowered)
    less = {**lowered, "dos_instances": {"web": {**SHOP["dos_instances"]["web"], "vms": {"web-1": {"power": "off"}}}}}
    site(less, before)


UNITS = {"B": 1, "MiB": 2**20, "GiB": 2**30}


def size(text: str | None) -> int:
    """An amount as these tests write it."""
    number, unit = (text or "0 B").split()
    return int(number) * UNITS[unit]


def counted(variables: dict[str, Any]) -> dict[tuple[str, str], int]:
    """What counts, from what was written, with nothing of the library: what the sums are held against."""
    projects, pools = variables["dos_projects"], variables.get("dos_pools") or {}
    images, volumes = variables.get("dos_images") or {}, variables.get("dos_volumes") or {}
    found = {(name, quota): 0 for name in projects for quota in QUOTAS}

    def image(name: str) -> int:
        held = images[name]
        raw = held.get("size") if held["format"] == "raw" else None
        return size(held.get("min_disk") or raw)

    def volume(name: str) -> int:
        held = volumes[name]
        if held.get("capacity"):
            return size(held["capacity"])
        return image(held["image"]) if held.get("image") else volume(held["base"])

    for held in images.values():
        if held.get("project"):
            found[held["project"], "images"] += 1
            found[held["project"], "image_size"] += size(held.get("size"))
    for name, held in volumes.items():
        if held.get("project"):
            found[held["project"], "disk"] += volume(name)
            found[held["project"], "snapshots"] += "base" in held
    for instance in (variables.get("dos_instances") or {}).values():
        project = instance["project"]
        active = (projects[project] or {}).get("active", True) and instance.get("enabled", True)
        vms = list((instance.get("vms") or {}).values()) + [None] * instance.get("count", 0)
        on = sum(active and (vm or {}).get("power", "on") == "on" for vm in vms)
        found[project, "instances"] += 1
        found[project, "vcpus"] += on * instance.get("vcpus", 1)
        found[project, "memory"] += on * size(instance["memory"])
        for disk in instance.get("disks") or ():
            if disk.get("pool") in pools and "volume" not in disk:
                found[project, "disk"] += len(vms) * (size(disk.get("capacity")) or image(disk["image"]))
    return found


@st.composite
def layered(draw: Any) -> dict[str, Any]:
    """Volumes in chains, and disks of every sort, whose sizes are known in every way there is."""
    sizes = st.sampled_from(["1 GiB", "3 GiB", "7 GiB"])
    images = {
        "small": {"file": "/srv/small", "format": "qcow2", "min_disk": draw(sizes)},
        "raw": {"file": "/srv/raw", "format": "raw", "size": draw(sizes), "project": "shop"},
        "both": {"file": "/srv/both", "format": "raw", "size": "1 GiB", "min_disk": draw(sizes)},
    }
    named = st.sampled_from(list(images))
    volumes: dict[str, Any] = {}
    for number in range(draw(st.integers(0, 4))):
        over: dict[str, Any] = draw(st.sampled_from([{"capacity": draw(sizes)}, {"image": draw(named)}]))
        if volumes and draw(st.booleans()):
            over = {"base": draw(st.sampled_from(sorted(volumes)))}
        own = {"capacity": draw(sizes)} if draw(st.booleans()) else {}
        owner = {"project": draw(st.sampled_from(["shop", "blog"]))} if draw(st.booleans()) else {}
        volumes[f"v{number}"] = {"pool": "fast", **over, **own, **owner}
    disks = [
        {"pool": "fast", **draw(st.sampled_from([{"image": draw(named)}, {"image": draw(named), "capacity": "9 GiB"}]))}
        for _ in range(draw(st.integers(0, 3)))
    ]
    instance = {"project": "shop", "memory": "64 MiB", "disks": disks, "count": draw(st.integers(0, 3))}
    return {**SHOP, "dos_images": images, "dos_volumes": volumes, "dos_instances": {"web": instance}}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sites().map(lambda declared: declared.variables) | layered())
def test_sums_are_those_of_what_was_written(variables: dict[str, Any]) -> None:
    hosts = [f"host-{number}" for number in range(1, 5)]
    assert used(load(variables, hosts=hosts, check=False)) == counted(variables)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sites(), st.sampled_from(QUOTAS), st.integers(0, 6), st.integers(0, 6))
def test_a_site_is_refused_exactly_when_a_sum_passes_its_limit_and_what_it_was(
    declared: Declared, quota: str, limit: int, before: int
) -> None:
    unit = 2**29 if quota in ("memory", "disk", "image_size") else 1
    held = {
        name: {**(project or {}), "quota": {quota: f"{limit * unit} B" if unit > 1 else limit}}
        for name, project in declared.variables["dos_projects"].items()
    }
    variables = {**declared.variables, "dos_projects": held}
    was = {(name, quota): before * unit for name in held}
    sums = counted(variables)
    over = {name for name in held if sums[name, quota] > max(limit, before) * unit}
    try:
        load(variables, hosts=declared.hosts, used=was)
        refused: set[str] = set()
    except DeclarationError as error:
        refused = {name for name in held for problem in error.problems if f"of project {name} is" in problem.text}
    assert refused == over


@pytest.mark.parametrize(
    ("disk", "image", "each"),
    [
        ({"image": "big", "pool": "fast"}, {"format": "qcow2", "min_disk": "500 GiB"}, 500),
        ({"image": "big", "pool": "fast"}, {"format": "raw", "size": "500 GiB"}, 500),
        ({"image": "big", "pool": "fast", "capacity": "600 GiB"}, {"format": "qcow2", "min_disk": "500 GiB"}, 600),
        ({"image": "big"}, {"format": "qcow2"}, 0),
    ],
)
def test_a_disk_without_capacity_counts_as_its_image(disk: dict[str, Any], image: dict[str, Any], each: int) -> None:
    """QUOTA-T1.4: 52 disks over a large image are 52 times as large."""
    many = {"project": "shop", "memory": "1 MiB", "disks": [disk], "count": 52}
    variables = limited(disk="1 GiB") | {
        "dos_images": {"big": {"file": "/srv/big", **image}},
        "dos_volumes": {},
        "dos_instances": {"many": many},
    }
    assert used(site(variables, check=False))["shop", "disk"] == 52 * each * 2**30
    if each:
        with pytest.raises(DeclarationError, match=f"disk of project shop is 1 GiB: 0 B used, {each} GiB requested"):
            site(variables)
    else:
        site(variables)


def test_a_layer_counts_as_what_it_is_layered_over() -> None:
    """VOL-03: each volume of a chain, by the first that says its size."""
    volumes = {"a": {"image": "i"}, "b": {"base": "a"}, "c": {"base": "b", "capacity": "9 GiB"}, "d": {"base": "c"}}
    variables = {
        **SHOP,
        "dos_images": {"i": {"file": "/srv/i", "format": "qcow2", "min_disk": "4 GiB"}},
        "dos_volumes": {name: {"pool": "fast", "project": "blog", **held} for name, held in volumes.items()},
    }
    assert used(site(variables))["blog", "disk"] == (4 + 4 + 9 + 9) * 2**30
