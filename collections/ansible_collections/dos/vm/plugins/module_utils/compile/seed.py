# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a machine's seed, in the layouts that guests read: NoCloud, OpenStack's config drive, and EC2's. Pure.

JSON is YAML too, so one spelling serves all of them. See https://cloudinit.readthedocs.io/en/latest/reference/datasources.html
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from ..model.injection import Injection
from ..model.seed import Seed
from ..model.types import DeviceName
from ..site.seed import InstanceSeed
from ..site.site import Site
from ..site.subnet import Subnet
from .machine import Machine

OPENSTACK = (
    "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27",
    "2020-10-14", "latest",
)  # fmt: skip
EC2 = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04",
    "latest",
)  # fmt: skip
WITH_VENDOR_DATA, WITH_NETWORK_DATA = "2013-10-17", "2015-10-15"
IDS = uuid.UUID("0d05d05d-5eed-5eed-8000-0d05d05d05d0")

Files = Mapping[str, str]


def compile_seed(site: Site, machine: Machine) -> Seed | None:
    """The seed of a machine that has its addresses; `None` for one that has none."""
    said = machine.instance.seed
    if said is None or said.type == "injected":
        return None
    # An instance id that follows the content makes the guest take itself for a new one (`rebuild`).
    trial = dict(_files(site, machine, said, _id(site, machine, "")))
    which = (
        hashlib.sha256(json.dumps(sorted(trial.items())).encode()).hexdigest() if said.on_change == "rebuild" else ""
    )
    return Seed(
        format=said.format,
        bus=said.bus,
        label="cidata" if said.type == "nocloud" else "config-2",
        files=dict(_files(site, machine, said, _id(site, machine, which))),
        on_change="ignore" if said.on_change == "ignore" else "next_boot",
    )


def compile_injection(site: Site, machine: Machine) -> Injection | None:
    """What is written into a machine's disk instead of a seed; `None` where there is a seed, or nothing."""
    said = machine.instance.seed
    if said is None or said.type != "injected":
        return None
    # With a kernel from outside the disk is the file system and no more (INJ-02).
    whole = 0 if machine.instance.kernel and said.partition is None else said.partition
    return Injection(
        disk=DeviceName(next(target for target, disk in machine.targets() if disk.takes_injection)),
        partition=whole,
        files=said.files,
        append=said.append,
        keys=tuple((said.public_keys or {}).values()),
        password=said.password,
        network=_interfaces(site, machine) if said.network == "static" else None,
        metadata=_json(dict(said.metadata)) if said.metadata else None,
    )


def _id(site: Site, machine: Machine, which: str) -> str:
    return str(uuid.uuid5(IDS, f"{site.name}/{machine.name}/{which}"))


def _files(site: Site, machine: Machine, said: InstanceSeed, own_id: str) -> Iterator[tuple[str, str]]:
    layout = _nocloud if said.type == "nocloud" else _config_drive
    return layout(site, machine, said, own_id)


def _nocloud(site: Site, machine: Machine, said: InstanceSeed, own_id: str) -> Iterator[tuple[str, str]]:
    keys = list((said.public_keys or {}).values())
    meta = {
        "instance-id": own_id,
        "local-hostname": str(machine.name),
        **({"public-keys": keys} if keys else {}),
        **(said.metadata or {}),
    }
    yield "meta-data", _json(meta)
    yield "user-data", said.user or "#cloud-config\n{}\n"
    vendor = _cloud_config(said, files=True)
    if vendor:
        yield "vendor-data", vendor
    if said.network_config is not None:
        yield "network-config", said.network_config
    elif (network := _network(site, machine, said)) is not None:
        yield "network-config", _json(network)


def _config_drive(site: Site, machine: Machine, said: InstanceSeed, own_id: str) -> Iterator[tuple[str, str]]:
    meta, contents = _openstack(site, machine, said, own_id)
    for version in OPENSTACK:
        yield f"openstack/{version}/meta_data.json", _json(meta)
        if said.user is not None:
            yield f"openstack/{version}/user_data", said.user
        if (vendor := _cloud_config(said, files=False)) and version >= WITH_VENDOR_DATA:
            yield f"openstack/{version}/vendor_data.json", _json({"cloud-init": vendor})
        if said.network == "static" and version >= WITH_NETWORK_DATA:
            yield f"openstack/{version}/network_data.json", _json(_network_data(site, machine))
    for number, text in enumerate(contents):
        yield f"openstack/content/{number:04d}", text
    for version in EC2:
        if version not in said.ec2_skip:
            yield f"ec2/{version}/meta-data.json", _json(_ec2(machine, said, own_id))
            if said.user is not None:
                yield f"ec2/{version}/user-data", said.user


def _openstack(site: Site, machine: Machine, said: InstanceSeed, own_id: str) -> tuple[dict[str, Any], list[str]]:
    """The metadata, and the contents they refer to by number: the network configuration first (CFGD-08)."""
    contents: list[str] = []

    def kept(text: str) -> str:
        contents.append(text)
        return f"/content/{len(contents) - 1:04d}"

    meta: dict[str, Any] = {
        "uuid": own_id,
        "name": str(machine.name),
        "hostname": str(machine.name),
        "availability_zone": str(site.name),
        "launch_index": machine.index,
        "project_id": str(machine.instance.project),
        "meta": dict(said.metadata or {}),
    }
    if said.network == "static":
        meta["network_config"] = {"name": "network_config", "content_path": kept(_interfaces(site, machine))}
    if said.files:
        meta["files"] = [{"path": path, "content_path": kept(text)} for path, text in sorted(said.files.items())]
    if said.public_keys:
        meta["public_keys"] = {str(name): key for name, key in said.public_keys.items()}
        meta["keys"] = [{"name": str(name), "type": "ssh", "data": key} for name, key in said.public_keys.items()]
    return meta, contents


def _ec2(machine: Machine, said: InstanceSeed, own_id: str) -> dict[str, Any]:
    groups = [str(card.security_group) for card in machine.instance.interfaces if card.security_group]
    cards = range(len(machine.instance.interfaces))
    addresses = [str(ip) for place in cards for ip in machine.ips(place) if ip.version == 4]
    first = machine.targets()[0][0] if machine.targets() else "vda"
    meta: dict[str, Any] = {
        "instance-id": own_id,
        "hostname": str(machine.name),
        "local-hostname": str(machine.name),
        "ami-launch-index": machine.index,
        "block-device-mapping": {"ami": first, "root": f"/dev/{first}"},
        "security-groups": sorted(set(groups)),
    }
    if addresses:
        meta["local-ipv4"] = addresses[0]
    if said.public_keys:
        # Only the key: the name by which EC2 lists it is the service's own (CFGD-06).
        meta["public-keys"] = {str(at): {"openssh-key": key} for at, key in enumerate(said.public_keys.values())}
    return meta


def _cloud_config(said: InstanceSeed, *, files: bool) -> str:
    """What has no place in metadata: the hash of a password, and files where the layout has none."""
    config: dict[str, Any] = {}
    if said.password is not None:
        config |= {"password": f"${{hash:{said.password}}}", "chpasswd": {"expire": False}}
    if files and said.files:
        config["write_files"] = [{"path": path, "content": text} for path, text in sorted(said.files.items())]
    return f"#cloud-config\n{_json(config)}" if config else ""


# ------------------------------------------------------------------------------------------------- the network


def _cards(site: Site, machine: Machine) -> Iterator[dict[str, Any]]:
    """Every card with its MAC, and what is known of its addresses, one of a family."""
    for place, card in enumerate(machine.instance.interfaces):
        subnets = {subnet.address.version: subnet for subnet in site.subnets_of(site.networks[card.network])}
        known = [(ip, subnets[ip.version]) for ip in machine.ips(place) if ip.version in subnets]
        yield {
            "name": f"eth{place}",
            "mac": str(machine.addresses[place]),
            "ips": [
                {
                    "ip": str(ip),
                    "version": ip.version,
                    "prefix": subnet.address.prefix,
                    "netmask": str(subnet.address.network.netmask),
                    "gateway": str(subnet.gateway) if subnet.gateway and place == 0 else None,
                }
                for ip, subnet in known
            ],
            "dhcp4": all(ip.version == 6 for ip, _ in known) and (4 in subnets or 6 not in subnets),
            # Without DHCPv6 the router tells the network, and the guest makes its address itself.
            "dhcp6": all(ip.version == 4 for ip, _ in known) and _asks_dhcp(subnets.get(6)),
            "dns": [str(subnet.gateway) for _, subnet in known if subnet.gateway],
        }


def _asks_dhcp(subnet: Subnet | None) -> bool:
    return subnet is not None and subnet.dhcp is not None and subnet.dhcp.enabled


def _network(site: Site, machine: Machine, said: InstanceSeed) -> dict[str, Any] | None:
    """Version 2, as cloud-init and netplan read it."""
    if said.network != "static":
        return None
    ethernets: dict[str, Any] = {}
    for card in _cards(site, machine):
        told: dict[str, Any] = {"match": {"macaddress": card["mac"]}, "set-name": card["name"]}
        told |= {name: True for name in ("dhcp4", "dhcp6") if card[name]}
        if card["ips"]:
            told["addresses"] = [f"{held['ip']}/{held['prefix']}" for held in card["ips"]]
            told |= {"nameservers": {"addresses": card["dns"]}} if card["dns"] else {}
            routes = [{"to": _all(held, "default"), "via": held["gateway"]} for held in card["ips"] if held["gateway"]]
            told |= {"routes": routes} if routes else {}
        ethernets[card["name"]] = told
    return {"version": 2, "ethernets": ethernets}


def _all(held: Mapping[str, Any], four: str) -> str:
    return four if held["version"] == 4 else "::/0"


def _network_data(site: Site, machine: Machine) -> dict[str, Any]:
    """As OpenStack's metadata have it since 2015-10-15."""
    links, networks, services = [], [], []
    for card in _cards(site, machine):
        name = card["name"]
        links.append({"id": name, "type": "phy", "ethernet_mac_address": card["mac"]})
        for asks, id_, kind in (("dhcp4", f"net-{name}", "ipv4_dhcp"), ("dhcp6", f"net6-{name}", "ipv6_dhcp")):
            if card[asks]:
                networks.append({"id": id_, "link": name, "type": kind})
        for held in card["ips"]:
            four = held["version"] == 4
            anywhere = {"network": "0.0.0.0", "netmask": "0.0.0.0"} if four else {"network": "::", "netmask": "::"}
            networks.append(
                {
                    "id": f"net-{name}" if four else f"net6-{name}",
                    "link": name,
                    "type": "ipv4" if four else "ipv6",
                    "ip_address": held["ip"],
                    "netmask": held["netmask"],
                    "routes": [{**anywhere, "gateway": held["gateway"]}] if held["gateway"] else [],
                }
            )
        services += [{"type": "dns", "address": address} for address in card["dns"]]
    return {"links": links, "networks": networks, "services": services}


def _interfaces(site: Site, machine: Machine) -> str:
    """As Debian's ifupdown reads it, for guests that know nothing newer."""
    lines = ["auto lo", "iface lo inet loopback"]
    for card in _cards(site, machine):
        name, dns = card["name"], card["dns"]
        lines += ["", f"auto {name}"]
        lines += [f"iface {name} inet dhcp"] if card["dhcp4"] else []
        lines += [f"iface {name} inet6 dhcp"] if card["dhcp6"] else []
        for held in card["ips"]:
            four = held["version"] == 4
            size = held["netmask"] if four else held["prefix"]
            lines += [f"iface {name} {'inet' if four else 'inet6'} static", f"    address {held['ip']}"]
            lines += [f"    netmask {size}"]
            lines += [f"    gateway {held['gateway']}"] if held["gateway"] else []
            lines += [f"    dns-nameservers {' '.join(dns)}"] if dns else []
            dns = []  # once for the card
    return "\n".join(lines) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
