# SPDX-License-Identifier: GPL-3.0-or-later
"""Every problem of a declaration is told at once, in words that say what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.errors import DeclarationError, Origin
from dosvm.model.decode import decode, encode
from dosvm.model.domain import Domain
from dosvm.model.graphics import Graphics
from dosvm.model.network import Network
from dosvm.model.pool import Pool
from dosvm.model.volume import Volume

NETWORK: dict[str, Any] = {
    "name": "lab",
    "subnets": [{"address": "10.0.0.1/24", "dhcp": {"ranges": [{"start": "10.0.0.2", "end": "10.0.0.9"}]}}],
}
DOMAIN: dict[str, Any] = {"name": "web", "memory": "64 MiB"}
VOLUME: dict[str, Any] = {"name": "v", "pool": "p", "capacity": "1 GiB"}

REFUSED = [
    (Network, {**NETWORK, "subnet": []}, "subnet: is not a known field, did you mean subnets?"),
    (Network, {**NETWORK, "frobnicate": 1}, "frobnicate: is not a known field, the fields are: name, uuid, "),
    (Network, {"forward": "none"}, "name: is required"),
    (Network, {**NETWORK, "name": None}, "name: has no value, and one is required"),
    (Network, {**NETWORK, "name": "lab;rm -rf /"}, "name: 'lab;rm -rf /' is not a name, write 1 to 64 letters"),
    (Network, {**NETWORK, "name": "<lab>"}, "name: '<lab>' is not a name"),
    (Network, {**NETWORK, "forward": "natt"}, "forward: 'natt' is not a choice, did you mean nat?"),
    (Network, {**NETWORK, "stp": "yes"}, "stp: 'yes' is not a flag, write true or false"),
    (Network, {**NETWORK, "delay": 31}, "delay: 31 is out of range, write 0 to 30"),
    (Network, {**NETWORK, "subnets": {}}, "subnets: a mapping where a list is expected, write each entry after a '-'"),
    (Network, {**NETWORK, "subnets": [{"address": "10.0.0.1"}]}, "'10.0.0.1' has no prefix, write 10.0.0.1/24"),
    (Network, {**NETWORK, "mac": "01:00:5e:00:00:01"}, "mac: '01:00:5e:00:00:01' is a multicast address"),
    (Network, {**NETWORK, "mac": 41137632601}, "mac: 41137632601 is a number: YAML reads an address of digits alone"),
    (Network, {**NETWORK, "mac": "52:54"}, "mac: '52:54' is not a MAC address, write six hex octets"),
    (Network, {**NETWORK, "bridge": "a-bridge-with-a-long-name"}, "is not a device name, write at most 15"),
    (
        Network,
        {**NETWORK, "forward": "route", "nat": {}},
        "nat: ranges are for forward: nat, and this is route (NET-T2.6)",
    ),
    (Network, {"name": "n", "forward": "bridge"}, "bridge: write either the host's bridge"),
    (Domain, {**DOMAIN, "memory": 512}, "memory: 512 has no unit, write 512 MiB, 512 GiB or 512 B"),
    (Domain, {**DOMAIN, "memory": "512 B"}, "memory: 512 B is out of range, write 1 MiB or more"),
    (Domain, {**DOMAIN, "memory": "512"}, "memory: '512' has no unit, write 512 MiB, 512 GiB or 512 B"),
    (Domain, {**DOMAIN, "memory": "1 GX"}, "memory: '1 GX' has an unknown unit 'GX', write B, KiB, MiB, GiB or TiB"),
    (Domain, {**DOMAIN, "vcpus": "two"}, "vcpus: 'two' is not a whole number"),
    (Domain, {**DOMAIN, "vcpus": 256}, "vcpus: 256 is out of range, write 1 to 255"),
    (Domain, {**DOMAIN, "title": "a\0b"}, "has control characters, which XML cannot carry"),
    (Domain, {**DOMAIN, "disks": [{"device": "disk"}]}, "disks[0].volume: a disk needs a volume or a file"),
    (Domain, {**DOMAIN, "kernel": "boot/vmlinuz"}, "is not an absolute path, write it from the root"),
    (Domain, {**DOMAIN, "kernel": "/srv/../etc/passwd"}, "climbs with '..', write the path it ends at"),
    (Volume, {**VOLUME, "capacity": "10"}, "capacity: '10' has no unit, write 10 MiB, 10 GiB or 10 B"),
    (Volume, {"name": "v", "pool": "p"}, "capacity: is required for a volume without a backing"),
    (Pool, {"name": "p", "path": "/srv", "permissions": {"mode": "0999"}}, "'0999' is not an octal mode"),
    (Domain, {**DOMAIN, "title": False}, "title: False where text is expected (YAML made this of text without quotes)"),
    (
        Pool,
        {"name": "p", "path": "/srv", "host_groups_of": 1},
        "host_groups_of: is not a known field, the fields are: ",
    ),
    (Pool, "a pool", "'a pool' where a mapping is expected, with keys like name"),
]


@pytest.mark.parametrize(("kind", "data", "message"), REFUSED, ids=[message[:40] for _, _, message in REFUSED])
def test_a_refusal_says_what_to_write_instead(kind: type, data: object, message: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        decode(kind, data)
    assert message in str(refused.value)


@pytest.mark.parametrize("field", ["streaming", "image_compression"])
def test_a_word_that_yaml_reads_as_a_flag_is_the_word(field: str) -> None:
    assert getattr(decode(Graphics, {"type": "spice", field: False}), field) == "off"


def test_a_flag_is_no_word_where_no_choice_is_one() -> None:
    with pytest.raises(DeclarationError, match="forward: False is not a choice, write one of"):
        decode(Network, {**NETWORK, "forward": False})


def test_all_problems_come_at_once() -> None:
    data = {**DOMAIN, "name": "a b", "vcpus": 0, "memry": 1, "disks": [{"bus": "nvme"}, 3], "clock": "gmt"}
    with pytest.raises(DeclarationError) as refused:
        decode(Domain, data)
    assert sorted(problem.path for problem in refused.value.problems) == [
        "clock",
        "disks[0].bus",
        "disks[1]",
        "memry",
        "name",
        "vcpus",
    ]


def test_a_problem_names_the_file_and_line_of_the_nearest_value_that_has_one() -> None:
    origins = {id(DOMAIN["memory"]): Origin("site.yml", 3, 9)}
    with pytest.raises(DeclarationError) as refused:
        decode(Domain, {**DOMAIN, "memory": DOMAIN["memory"], "vcpus": "x"}, where=lambda value: origins.get(id(value)))
    assert refused.value.problems[0].origin is None
    with pytest.raises(DeclarationError) as refused:
        decode(Domain, {"name": DOMAIN["memory"]}, path="dos", where=lambda value: origins.get(id(value)))
    assert str(refused.value).startswith("site.yml:3:9: dos.name: '64 MiB' is not a name")


def test_nonsense_of_a_megabyte_is_told_in_one_short_line() -> None:
    with pytest.raises(DeclarationError) as refused:
        decode(Domain, {**DOMAIN, "name": "\\x" * 500_000})
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("kind", "data"), [(Network, NETWORK), (Domain, DOMAIN), (Volume, VOLUME)])
def test_encode_is_the_inverse_of_decode(kind: type, data: dict[str, Any]) -> None:
    value = decode(kind, data)
    assert decode(kind, encode(value)) == value


def test_encode_leaves_out_what_nobody_said() -> None:
    assert encode(decode(Network, NETWORK)) == NETWORK
