# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of networks that libvirt serves: where they are, and what is told of them (DEP-16)."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.hypervisor.gateway_files import files
from dosvm.site.load import load
from dosvm.xml.gateway import render

FACTS = FakeHypervisor().facts()
HOSTS = ("h1", "h2")
FORWARD = {"protocol": "tcp", "port": 8080, "to": "10.0.0.11", "to_port": 80}


def compiled(*forwards: dict[str, Any], assertions: Any = (), **network: Any) -> Compiled:
    variables = {
        "dos_projects": {"p": {}},
        "dos_subnets": {"lan": {"address": "10.0.0.0/24", "gateway": "10.0.0.1", "dhcp": {}}},
        "dos_networks": {
            "lan": {"type": "nat", "subnet": "lan", "bridge": "virbr7", "forwards": list(forwards), **network}
        },
        "dos_instances": {
            "web": {
                "project": "p",
                "memory": "64 MiB",
                "interfaces": [{"network": "lan"}],
                "vms": {"web": {"host": "h2", "ip": {"lan": "10.0.0.11"}}},
            }
        },
        "dos_assertions": list(assertions),
    }
    states = {host: HostState(facts=FACTS) for host in HOSTS}
    return compile_site(load(variables, hosts=HOSTS), states, now=0.0)


def test_a_service_is_on_the_host_of_its_machine() -> None:
    made = compiled(FORWARD)
    assert [len(made.slices[host].gateways) for host in HOSTS] == [0, 1]
    (gateway,) = made.slices["h2"].gateways
    assert (gateway.name, gateway.only_forwards, gateway.autostart) == ("lan", True, True)
    texts = files(render(gateway))
    assert set(texts) == {"", ".nft"}  # neither names nor addresses are ours there
    assert "dnat ip to 10.0.0.11:80" in texts[".nft"]
    assert "chain forward {\n    type filter hook forward priority filter; policy accept;\n  }" in texts[".nft"]
    assert "masquerade" in texts[".nft"]  # only of who asks for the service beside it
    assert texts[".nft"].count("masquerade") == 1
    assert "iptables -w -I FORWARD -o virbr7 -m conntrack --ctstate DNAT" in texts[""]
    assert subprocess.run(["sh", "-n"], input=texts[""], text=True, check=False).returncode == 0


def test_an_address_outside_is_put_on_the_interface() -> None:
    (gateway,) = compiled({"address": "192.0.2.5", "to": "10.0.0.11"}, forward_interface="eth0").slices["h2"].gateways
    assert "192.0.2.5/32" in files(render(gateway))[""]
    assert "10.0.0.1/24 dev virbr7" not in files(render(gateway))[""]


def test_an_address_of_no_machine_is_where_the_network_is_alone() -> None:
    other = {**FORWARD, "to": "10.0.0.77"}
    assert not any(slice_.gateways for slice_ in compiled(other).slices.values())
    assert compiled(FORWARD, other, host="h2").slices["h2"].gateways[0].forwards[1].to == "10.0.0.77"


@pytest.mark.parametrize(("port", "reached"), [(80, True), (8080, False), (22, False)])
def test_an_assertion_knows_what_comes_in(port: int, reached: bool) -> None:
    compiled(FORWARD, assertions=[{"from": "192.0.2.1", "to": "web", "port": port, "expect": reached}])
    with pytest.raises(DeclarationError, match=r"is behind NAT|a service of network lan is web"):
        compiled(FORWARD, assertions=[{"from": "192.0.2.1", "to": "web", "port": port, "expect": not reached}])
