# SPDX-License-Identifier: GPL-3.0-or-later
"""A network changes under a guest that is talked to all the while: nothing is lost (LIMIT-19, NET-11)."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import guests
from guests import wait_for

from dosvm.hypervisor.libvirt import LibvirtHypervisor

NET, GUEST = "192.168.238.0/24", "192.168.238.11"


def answered(*more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(["ping", "-n", "-q", "-i", "0.02", *more, GUEST], stdout=subprocess.PIPE, text=True)


def counts(told: str) -> tuple[int, int]:
    """Packets sent and received."""
    found = re.search(r"(\d+) packets transmitted, (\d+) received", told)
    assert found is not None, told
    return int(found[1]), int(found[2])


def test_no_packet_is_lost_while_reservations_names_and_ranges_change(
    hypervisor: LibvirtHypervisor, prefix: str, folder: Path
) -> None:
    cloud = guests.Cloud(hypervisor, prefix, folder)
    lan = f"{prefix}lan"

    def subnet(**more: Any) -> dict[str, Any]:
        base = {"address": NET, "gateway": "192.168.238.1", "dhcp": {}, "dns": {"hosts": []}}
        return {"dos_subnets": {lan: {**base, **more}}}

    cloud.declared |= {
        **subnet(),
        "dos_networks": {lan: {"type": "nat", "subnet": lan, "bridge": f"{prefix}br"}},
        "dos_instances": {"web": cloud.machine("web", {"network": lan, "ip": GUEST})},
    }
    cloud.converge()
    wait_for("the guest's first answer", lambda: subprocess.run(
        ["ping", "-n", "-q", "-c", "1", "-W", "1", GUEST], capture_output=True, check=False).returncode == 0)  # fmt: skip
    pid = Path(f"/run/libvirt/network/{lan}.pid").read_text()
    time.sleep(1)
    pinging = answered("-c", "100000")
    try:
        time.sleep(0.5)
        # Each is a change of the subnet only, and reaches the network that uses it.
        entry = {"mac": "52:54:00:23:80:20", "ip": "192.168.238.32", "name": "printer"}
        names = {"hosts": [{"ip": "192.168.238.33", "names": ["scanner"]}], "txt": [{"name": "note", "value": "hi"}]}
        span = [{"start": "192.168.238.100", "end": "192.168.238.120"}]
        for changed, anew in (
            (subnet(dhcp={"reservations": [entry]}), False),
            (subnet(dhcp={"reservations": [{**entry, "ip": "192.168.238.34"}]}), False),
            # For these libvirt starts its dnsmasq anew, which keeps the leases.
            (subnet(dhcp={"reservations": [entry]}, dns=names), True),
            (subnet(pool=span, dhcp={"reservations": [entry]}, dns=names), True),
        ):
            assert [done for done in cloud.converge(**changed) if lan in done] != []
            assert cloud.converge(**changed) == []
            assert anew or Path(f"/run/libvirt/network/{lan}.pid").read_text() == pid, "its dnsmasq was started anew"
        time.sleep(0.5)
    finally:
        pinging.send_signal(2)  # it sums up at Ctrl-C
        told, _ = pinging.communicate(timeout=300)
    sent, received = counts(told)
    assert sent > 50
    assert received == sent, told
