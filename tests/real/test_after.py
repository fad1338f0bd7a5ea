# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that is started after another, by the playbooks on this machine's libvirt: the order is that of the real starts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import guests
import pytest
from operators import Operator

pytestmark = pytest.mark.libvirt

PORT = 80  # where the guest's page is


def site(folder: Path) -> dict[str, Any]:
    """A database that is a guest with a page, and one without a system that comes after it."""
    return {
        "dos_site": "ao",
        "dos_projects": {"ao": {}},
        "dos_pools": {"ao-pool": {"path": str(folder / "pool")}},
        "dos_images": {"ao-busybox": {"file": str(folder / "busybox.qcow2"), "format": "qcow2"}},
        "dos_subnets": {
            "ao-net": {
                "address": "192.168.234.0/24",
                "gateway": "192.168.234.1",
                "pool": [{"start": "192.168.234.100", "end": "192.168.234.199"}],
                "dhcp": {},
            }
        },
        "dos_networks": {"ao-net": {"type": "isolated", "subnet": "ao-net", "bridge": "aobr0"}},
        "dos_instances": {
            "db": {
                "project": "ao",
                "memory": "96 MiB",
                "disks": [{"image": "ao-busybox", "pool": "ao-pool"}],
                "interfaces": [{"network": "ao-net", "boot_rom": False}],
                "serial": {"log": True},
                "stop_timeout": 0,
                "vms": {"ao-db": {"ip": {"ao-net": "192.168.234.11"}}},
            },
            "web": {
                "project": "ao",
                "memory": "16 MiB",
                "after": [{"name": "ao-db", "tcp": PORT}],
                "stop_timeout": 0,
                "vms": {"ao-web": {}},
            },
        },
    }


@pytest.fixture
def operator() -> Iterator[Operator]:
    folder = Path("/var/lib/dos-vm/test-after")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(guests.image(), folder / "busybox.qcow2")
    held = Operator(folder, site(folder))
    yield held
    held.site = site(folder)
    allow = json.dumps({"dos_allow": [{"data_loss": ["volume ao-pool/ao-db-vda"]}]})
    held.play("destroy", "-e", "dos_confirm=ao", "-e", allow)
    shutil.rmtree(folder)


def started(vm: str) -> datetime:
    """When libvirt started it last."""
    log = Path(f"/var/log/libvirt/qemu/{vm}.log").read_text(errors="replace")
    return datetime.fromisoformat(re.findall(r"^(\S+ [\d:.]+)\+0000: starting up", log, re.MULTILINE)[-1])


def test_a_machine_starts_when_the_one_before_it_takes_connections(operator: Operator) -> None:
    told = f"ao-web is started after ao-db, which must take connections on tcp {PORT} within 300 s"
    assert told in operator.play("plan")
    assert [operator.state(vm) for vm in ("ao-db", "ao-web")] == ["none", "none"]
    operator.play("site")
    assert [operator.state(vm) for vm in ("ao-db", "ao-web")] == ["running", "running"]
    # The page is there some seconds after the start, when the guest has booted and has its lease.
    assert (started("ao-web") - started("ao-db")).total_seconds() > 1
    assert "is up after" in Path("/var/log/libvirt/qemu/ao-db-serial.log").read_text(errors="replace")
    assert "Plan: 0 to create, 0 to change, 0 to remove" in operator.play("site")

    operator.play("power", "-e", '{"dos_order": "stop", "dos_projects_of": "ao", "dos_timeout": 0}')
    assert [operator.state(vm) for vm in ("ao-db", "ao-web")] == ["shut off", "shut off"]
    operator.play("power", "-e", '{"dos_order": "start", "dos_projects_of": "ao"}')
    assert started("ao-db") < started("ao-web")


def test_who_never_becomes_ready_is_named_and_nobody_starts_after_it(operator: Operator) -> None:
    operator.site["dos_instances"]["web"]["after"] = [{"name": "ao-db", "tcp": 81, "within": 4}]
    told = operator.play("site", succeeds=False)
    reason = "ao-web is not started: it comes after ao-db, which must take connections on tcp 81 within 4 s: ao-db: 192.168.234.11: "
    assert reason in told
    assert [operator.state(vm) for vm in ("ao-db", "ao-web")] == ["running", "shut off"], "defined, and not started"

    operator.site["dos_instances"]["web"]["after"] = [{"name": "ao-db", "tcp": PORT}]
    operator.play("site")
    assert operator.state("ao-web") == "running"
