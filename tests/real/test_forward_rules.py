# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway that only forwards, with rules like libvirt's in its way (DEP-16): in namespaces of its own, without libvirt.

A machine behind the bridge, somebody outside, and this host between them; the files it keeps are in a copy of /etc.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"
ACT = """
import sys
from dosvm.hypervisor import gateways, kept
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.gateway import Gateway
from dosvm.plan.action import Start, Stop
from dosvm.xml.build import to_text
from dosvm.xml.gateway import render

said = {
    "name": "lan", "bridge": "virbr7", "device": "up0", "forward": "route", "only_forwards": True,
    "subnets": [{"address": "10.0.0.1/24"}],
    "forwards": [
        {"address": "192.0.2.77", "protocol": "tcp", "port": 80, "to": "10.0.0.11"},
        {"protocol": "tcp", "port": 8081, "to": "10.0.0.11", "to_port": 80},
    ],
}
address = Address("gateway", "lan")
if sys.argv[1] == "start":
    kept.define(gateways.GATEWAYS, "lan", to_text(render(decode(Gateway, said))))
    kept.perform(gateways.GATEWAYS, Start(address=address))
elif sys.argv[1] == "stop":
    kept.perform(gateways.GATEWAYS, Stop(address=address))
else:
    print(*(held.active for held in kept.observe(gateways.GATEWAYS, "test")))
"""
STAGE = """
set -eu
mount -t sysfs none /sys
mount -t tmpfs none /run
cp -a /etc /run/etc
mount --bind /run/etc /etc
exec </dev/null
ip link set lo up
ip link add virbr7 type bridge
ip address add 10.0.0.1/24 dev virbr7
ip link set virbr7 up
unshare -n sleep 60 & guest=$!
unshare -n sleep 60 & outside=$!
trap 'kill $guest $outside $page' EXIT
page=
sleep 0.5
of() { pid=$1; shift; nsenter -t "$pid" -n "$@"; }
ip link add guest0 type veth peer name eth0 netns $guest
ip link set guest0 master virbr7 up
ip link add up0 type veth peer name eth0 netns $outside
ip link set up0 up
ip address add 192.0.2.1/24 dev up0
of $guest ip link set eth0 up
of $guest ip address add 10.0.0.11/24 dev eth0
of $guest ip route add default via 10.0.0.1
of $outside ip link set eth0 up
of $outside ip address add 192.0.2.9/24 dev eth0
of $outside ip route add 10.0.0.0/24 via 192.0.2.1
echo 1 >/proc/sys/net/ipv4/ip_forward
# What libvirt has for a network that is translated.
iptables -N LIBVIRT_FWI
iptables -A FORWARD -j LIBVIRT_FWI
iptables -A LIBVIRT_FWI -d 10.0.0.0/24 -o virbr7 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A LIBVIRT_FWI -o virbr7 -j REJECT
mkdir /run/www
echo hello >/run/www/index.html
nsenter -t $guest -n busybox httpd -f -p 80 -h /run/www & page=$!
sleep 0.3
got() { echo "$1: $(of $outside curl --silent --max-time 2 "http://$2/" || echo nothing)"; }
told() { echo "$1: $("$PYTHON" "$ACT" look)"; }
hook=/etc/libvirt/hooks/network.d/dos-vm-lan

got before 192.0.2.77
"$PYTHON" "$ACT" start
told up
got address 192.0.2.77
got port 192.0.2.1:8081
got guest 10.0.0.11
"$PYTHON" "$ACT" start
echo "rules: $(iptables -S FORWARD | grep -c dos.vm)"
iptables -I FORWARD -j LIBVIRT_FWI
got libvirt-first 192.0.2.77
$hook other started begin -
got another-network 192.0.2.77
$hook lan started begin -
got hook 192.0.2.77
eval "iptables $(iptables -S FORWARD | sed -n '/dos.vm/s/^-A/-D/p')"
told rule-gone
"$PYTHON" "$ACT" start
told again
"$PYTHON" "$ACT" stop
told down
got after 192.0.2.77
echo "left: $(iptables -S FORWARD | grep -c dos.vm || true) $(nft list tables | grep -c dos_gw || true) $(ls -A ${hook%/*})"
"""
EXPECTED = {
    "before": "nothing",
    "up": "True",
    "address": "hello",
    "port": "hello",
    "guest": "nothing",
    "rules": "1",
    "libvirt-first": "nothing",
    "another-network": "nothing",
    "hook": "hello",
    "rule-gone": "False",
    "again": "True",
    "down": "False",
    "after": "nothing",
    "left": "0 0",
}


def test_a_service_passes_what_refuses_everybody_else(tmp_path: Path) -> None:
    act, stage = tmp_path / "act.py", tmp_path / "stage.sh"
    act.write_text(f"import sys\nsys.path.insert(0, {str(SRC)!r})\n{ACT}", encoding="utf-8")
    stage.write_text(STAGE, encoding="utf-8")
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        done = subprocess.run(
            ["unshare", "--net", "--mount", "bash", stage],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON": sys.executable, "ACT": str(act)},
            stdout=out, stderr=err, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, (tmp_path / "err").read_text()
    told = dict(line.split(": ", 1) for line in (tmp_path / "out").read_text().splitlines())
    assert {name: text.strip() for name, text in told.items()} == EXPECTED
