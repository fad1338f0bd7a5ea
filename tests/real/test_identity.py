# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine tells about itself: to its guest by its firmware (DOMX-04), and to whoever reads the host (DOMX-03, VM-T1.8)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from guests import Shell, ShellGuest, said

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.xml.common import mark_of

pytestmark = pytest.mark.libvirt


def declared(hypervisor: LibvirtHypervisor, domain: dict[str, Any]) -> Outcome:
    held = decode(Slice, {"site": "test", "domains": [domain]})
    outcome = converge(held, hypervisor, permission=Permission())
    assert outcome.failures == ()
    return outcome


def test_a_guest_reads_who_made_it_and_which_machine_it_is(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path
) -> None:
    guest = ShellGuest(hypervisor, prefix, tmp_path)
    guest.domain["smbios"] = {"product": "Lab machine", "version": "7", "family": "lab"}
    declared(hypervisor, guest.domain)
    assert not declared(hypervisor, guest.domain).changed
    said(guest.log, "is up")
    uuid = hypervisor.observe("test")[Address("domain", prefix)].xml.findtext("uuid")
    with Shell.of(prefix) as shell:
        heard = shell.run(
            "mount -t sysfs sysfs /sys 2>/dev/null; cd /sys/class/dmi/id && "
            "for one in sys_vendor product_name product_version product_family product_serial product_uuid; do "
            'echo "$one=$(cat $one)"; done'
        )
    for line in (
        "sys_vendor=dos.vm",
        "product_name=Lab machine",
        "product_version=7",
        "product_family=lab",
        f"product_serial={hypervisor.facts().identity}",
        f"product_uuid={uuid}",
    ):
        assert line in heard, heard


def test_a_machine_knows_when_it_was_made_and_of_what(hypervisor: LibvirtHypervisor, prefix: str) -> None:
    before = int(time.time())
    domain = {"name": prefix, "memory": "16 MiB", "active": False, "mark": {"site": "test", "image": "debian-12"}}
    declared(hypervisor, domain)

    def mark() -> dict[str, Any]:
        return mark_of(hypervisor.observe("test")[Address("domain", prefix)].xml) or {}

    made = mark()
    assert before <= made["created"] <= time.time()
    assert made["image"] == "debian-12"
    assert not declared(hypervisor, domain).changed
    declared(hypervisor, {**domain, "memory": "24 MiB"})
    assert mark() == made, "a change is no new beginning"
