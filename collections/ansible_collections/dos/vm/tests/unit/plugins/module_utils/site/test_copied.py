# SPDX-License-Identifier: GPL-3.0-or-later
"""INST-02: an instance that is a copy of another one, with what it says itself over it."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.errors import DeclarationError
from dosvm.site.load import load
from dosvm.site.site import Site

WEB = {
    "project": "p",
    "label": "the web",
    "memory": "1 GiB",
    "vcpus": 2,
    "host": "h1",
    "enabled": False,
    "graphics": [{"type": "vnc"}],
    "count": 2,
}


def site(**instances: Any) -> Site:
    return load({"dos_projects": {"p": {}, "q": {}}, "dos_instances": {"web": WEB, **instances}}, hosts=["h1", "h2"])


def test_what_is_not_said_is_as_in_the_other_one() -> None:
    held = site(large={"from": "web", "memory": "4 GiB", "vms": {"large-1": None}}).instances
    web, large = held["web"], held["large"]
    assert (large.memory, large.vcpus, large.host, large.graphics) == (4 * 2**30, 2, "h1", web.graphics)
    assert (large.project, large.enabled) == ("p", False)


def test_machines_and_label_are_its_own() -> None:
    large = site(large={"from": "web"}).instances["large"]
    assert (list(large.machines("large")), large.label) == ([], None)


def test_a_field_with_nothing_in_it_is_not_copied() -> None:
    assert site(free={"from": "web", "host": None, "enabled": True}).instances["free"].host is None


def test_a_copy_of_a_copy_has_the_nearest_word() -> None:
    held = site(c={"from": "b", "project": "q"}, b={"from": "web", "memory": "2 GiB", "vcpus": 4, "count": 9})
    c = held.instances["c"]
    assert (c.memory, c.vcpus, c.project, c.host, c.count) == (2 * 2**30, 4, "q", "h1", None)
    assert list(held.instances) == ["web", "c", "b"], "in the order of the declaration"


def test_a_list_is_written_whole() -> None:
    assert site(quiet={"from": "web", "graphics": []}).instances["quiet"].graphics == ()


def test_copies_of_copies_come_to_an_end() -> None:
    many = {f"c{number}": {"from": f"c{number - 1}" if number else "web"} for number in range(17)}
    with pytest.raises(DeclarationError, match="more than 16 instances"):
        site(**many)
