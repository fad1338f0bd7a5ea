# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a machine's seed, file by file, in every layout."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from dosvm.compile.seed import EC2, OPENSTACK
from dosvm.compile.site import compile_site
from dosvm.compile.states import HostState
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.domain import Domain
from dosvm.model.seed import Seed
from dosvm.site.load import load

KEYS = {"ann": "ssh-ed25519 AAAA ann", "bob": "ssh-ed25519 BBBB bob"}
SITE: dict[str, Any] = {
    "dos_projects": {"shop": {}},
    "dos_secrets": {"guest": {"value": "hunter22"}},
    "dos_subnets": {"front": {"address": "10.20.0.0/24", "gateway": "10.20.0.1"}},
    "dos_networks": {"front": {"type": "nat", "subnet": "front", "project": "shop", "bridge": "br7"}},
}


def domains(seed: dict[str, Any], **more: Any) -> dict[str, Domain]:
    instance = {
        "project": "shop",
        "memory": "64 MiB",
        "interfaces": [{"network": "front"}],
        "seed": seed,
        "vms": {"web-1": {"ip": {"front": "10.20.0.11"}}, "web-2": {}},
        **more,
    }
    site = load({**SITE, "dos_instances": {"web": instance}}, hosts=("h1",))
    compiled = compile_site(site, {"h1": HostState(facts=FakeHypervisor().facts())}, now=0.0)
    return {domain.name: domain for domain in compiled.slices["h1"].domains}


def files(seed: dict[str, Any], name: str = "web-1") -> dict[str, str]:
    found = domains(seed)[name].seed
    assert found is not None
    return dict(found.files)


def test_nocloud_has_its_four_files() -> None:
    """CFGD-01, CFGD-09."""
    told = files(
        {
            "user_data": "#!/bin/sh\ntrue\n",
            "public_keys": KEYS,
            "password": "guest",
            "network": "static",
            "files": {"/etc/motd": "hello"},
        }
    )
    assert sorted(told) == ["meta-data", "network-config", "user-data", "vendor-data"]
    meta = json.loads(told["meta-data"])
    assert (meta["local-hostname"], meta["public-keys"]) == ("web-1", list(KEYS.values()))
    assert told["user-data"] == "#!/bin/sh\ntrue\n"
    head, _, config = told["vendor-data"].partition("\n")
    assert head == "#cloud-config"
    assert json.loads(config)["password"] == "${hash:guest}"
    assert json.loads(config)["write_files"] == [{"path": "/etc/motd", "content": "hello"}]
    card = json.loads(told["network-config"])["ethernets"]["eth0"]
    assert card["addresses"] == ["10.20.0.11/24"]
    assert card["routes"] == [{"to": "default", "via": "10.20.0.1"}]


def test_a_card_without_address_asks_for_one() -> None:
    told = json.loads(files({"network": "static"}, "web-2")["network-config"])
    assert told["ethernets"]["eth0"]["dhcp4"] is True


def test_a_config_drive_has_every_version_of_both_trees() -> None:
    """CFGD-05, CFGD-06, CFGD-07."""
    told = files({"type": "config_drive", "user_data": "#!/bin/sh\n", "public_keys": KEYS, "network": "static"})
    for version in OPENSTACK:
        assert f"openstack/{version}/meta_data.json" in told
        assert told[f"openstack/{version}/user_data"] == "#!/bin/sh\n"
    assert {path.split("/")[1] for path in told if path.startswith("ec2/")} == {"2009-04-04", "latest"}
    every = files({"type": "config_drive", "ec2_skip": []})
    assert {path.split("/")[1] for path in every if path.startswith("ec2/")} == set(EC2)
    assert not [path for path in every if path.endswith(("user_data", "user-data"))], "only if there are user data"


def test_contents_are_numbered_and_the_network_is_first() -> None:
    """CFGD-08, CFGD-09."""
    told = files(
        {"type": "config_drive", "network": "static", "files": {"/b": "two", "/a": "one"}, "metadata": {"role": "web"}}
    )
    meta = json.loads(told["openstack/latest/meta_data.json"])
    assert meta["network_config"] == {"name": "network_config", "content_path": "/content/0000"}
    assert [(held["path"], held["content_path"]) for held in meta["files"]] == [
        ("/a", "/content/0001"),
        ("/b", "/content/0002"),
    ]
    assert [told[f"openstack/content/{number:04d}"] for number in (1, 2)] == ["one", "two"]
    assert "address 10.20.0.11" in told["openstack/content/0000"]
    assert (meta["meta"], meta["launch_index"], meta["hostname"]) == ({"role": "web"}, 0, "web-1")
    assert json.loads(files({"type": "config_drive"}, "web-2")["openstack/latest/meta_data.json"])["launch_index"] == 1
    services = json.loads(told["openstack/latest/network_data.json"])["services"]
    assert services == [{"type": "dns", "address": "10.20.0.1"}]


def test_ec2_lists_keys_without_names() -> None:
    """CFGD-06."""
    meta = json.loads(files({"type": "config_drive", "public_keys": KEYS})["ec2/latest/meta-data.json"])
    assert meta["public-keys"] == {"0": {"openssh-key": KEYS["ann"]}, "1": {"openssh-key": KEYS["bob"]}}
    assert meta["local-ipv4"] == "10.20.0.11"


def test_user_data_in_base64_are_on_the_disc_decoded() -> None:
    """CFGD-10."""
    assert files({"user_data_base64": base64.b64encode(b"#cloud-config\n").decode()})["user-data"] == "#cloud-config\n"


@pytest.mark.parametrize(
    ("seed", "refused"),
    [
        ({"user_data": "a", "user_data_base64": "YQ=="}, "user_data_base64"),
        ({"user_data_base64": "!!"}, "is not base64"),
        ({"network": "static", "network_config": "version: 2"}, "network_config"),
        ({"files": {"etc/motd": "x"}}, "from the root"),
        ({"format": "ext4"}, "format"),
    ],
)
def test_what_cannot_be_is_refused(seed: dict[str, Any], refused: str) -> None:
    """CFGD-02 for the format."""
    with pytest.raises(DeclarationError, match=refused):
        domains(seed)


def test_secrets_are_named_and_come_with_the_slice() -> None:
    seed = domains({"user_data": "pass=${secret:guest}", "password": "guest"})["web-1"].seed
    assert seed is not None
    assert seed.secrets() == ["guest"]


def test_a_rebuilt_guest_has_another_id_and_any_other_keeps_it() -> None:
    def own_id(**seed: Any) -> str:
        return str(json.loads(files(seed)["meta-data"])["instance-id"])

    assert own_id(user_data="a") == own_id(user_data="b")
    assert own_id(user_data="a", on_change="rebuild") != own_id(user_data="b", on_change="rebuild")
    assert own_id(user_data="a", on_change="rebuild") == own_id(user_data="a", on_change="rebuild")


def test_another_content_is_another_file() -> None:
    seed = Seed(files={"meta-data": "a"})
    assert seed.path("web") != replace(seed, files={"meta-data": "b"}).path("web")
    assert replace(seed, format="vfat").path("web").endswith(".img")


@pytest.mark.parametrize("path", ["../up", "/root", "a//b", "a/./b", "with space"])
def test_a_path_that_leaves_the_disc_is_refused(path: str) -> None:
    with pytest.raises(DeclarationError, match="is not a path on a disc"):
        Seed(files={path: ""})
