# SPDX-License-Identifier: GPL-3.0-or-later
"""What we write, libvirt gives back as the same: defined, running, and read as a declaration.

Nothing of a case but its name and what must exist to start is changed. Hosts differ in what they can do (TLS, KVM, aarch64):
what this libvirt refuses to define for that reason is skipped, and the reason is shown.
"""

from __future__ import annotations

import os
import random
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from dosvm._thirdparty import libvirt
from dosvm.model.decode import decode
from dosvm.model.domain import Disk, Domain
from dosvm.model.types import AbsolutePath, ByteSize, Name
from dosvm.xml.build import parse as parse_xml
from dosvm.xml.build import to_text
from dosvm.xml.compare import Change, compare
from dosvm.xml.domain import SHAPE, explicit, parse, render
from dosvm.xml.merge import merge
from dosvm.xml.normalize import normalize

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "collections/ansible_collections/dos/vm/tests/unit/plugins/module_utils/xml"))

from domain_strategies import domains
from lens_cases import Case, cases

pytestmark = pytest.mark.libvirt

NOT_HERE = ("TLS is disabled", "No emulator found")
# The state of the tray is the guest's as soon as it runs.
OF_THE_MOMENT = ("domain/devices/disk/target/@tray",)


@pytest.fixture(scope="module")
def host() -> Iterator[Any]:
    libvirt.registerErrorHandler(lambda context, error: None, None)
    connection = libvirt.open("qemu:///system")
    yield connection
    connection.close()


def here(declared: Domain) -> Domain:
    """The same machine under a name and identity of its own, for a host without KVM."""
    name = Name(f"kd-{uuid.uuid4().hex[:10]}")
    return replace(declared, name=name, uuid=None, virt_type="qemu", hyperv=None, title=None)


class Defined:
    """A domain that is there for the length of a `with`."""

    def __init__(self, host: Any, declared: Domain) -> None:
        self.host, self.text = host, to_text(render(declared))

    def __enter__(self) -> Any:
        try:
            self.domain = self.host.defineXMLFlags(self.text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        except libvirt.libvirtError as refused:
            if any(words in str(refused) for words in NOT_HERE):
                pytest.skip(f"this host: {refused}")
            raise
        return self.domain

    def __exit__(self, *raised: object) -> None:
        if self.domain.isActive():
            self.domain.destroy()
        self.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)


def observed(domain: Any, *, live: bool = False) -> Any:
    inactive = 0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE
    return normalize(parse_xml(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | inactive)), SHAPE)


def changes(declared: Domain, found: Any) -> list[Change]:
    desired = merge(normalize(render(declared), SHAPE), found, SHAPE)
    return list(compare(found, desired, SHAPE))


def comparable(declared: Domain, like: Domain) -> Domain:
    """`declared` without what libvirt chose where `like` is silent: identity, MACs, versions of boards, controllers, the order."""
    cards = tuple(
        replace(card, mac=card.mac if wanted.mac else None)
        for card, wanted in zip(declared.interfaces, like.interfaces, strict=True)
    )
    disks = tuple(sorted(declared.disks, key=lambda disk: str(disk.target)))
    scsi = declared.scsi_model if like.scsi_model else None
    return replace(declared, uuid=like.uuid, machine=like.machine, interfaces=cards, disks=disks, scsi_model=scsi)


def assert_law(domain: Any, declared: Domain) -> None:
    found = observed(domain)
    assert changes(declared, found) == []
    if not declared.xml:
        wanted = explicit(declared)
        read = decode(Domain, parse(found))
        assert comparable(read, wanted) == comparable(wanted, wanted)


@pytest.mark.parametrize("case", cases("domain"), ids=str)
def test_a_defined_case_is_as_declared(host: Any, case: Case) -> None:
    declared = here(case.declaration)
    with Defined(host, declared) as domain:
        assert_law(domain, declared)


def test_any_defined_domain_is_as_declared(host: Any) -> None:
    @settings(
        max_examples=int(os.environ.get("DOSVM_EXAMPLES", "30")),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(domains(virt_type="qemu"))
    def law(declared: Domain) -> None:
        declared = replace(here(declared), memory=ByteSize(64 * 2**20), memory_max=None)
        with Defined(host, declared) as domain:
            assert_law(domain, declared)

    law()


@pytest.fixture
def image(tmp_path: Path) -> Iterator[AbsolutePath]:
    # libvirt's QEMU runs as another user, who may not look into pytest's folders.
    folder = Path("/var/tmp") / f"kd-{random.randrange(16**8):08x}"
    folder.mkdir(mode=0o755)
    path = folder / "disk.raw"
    path.write_bytes(bytes(2**20))
    yield AbsolutePath(str(path))
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


RUNNING: tuple[dict[str, Any], ...] = (
    {},
    {"machine": "pc", "boot": ["cdrom"], "tablet": True, "graphics": [{"type": "vnc", "listen": "127.0.0.1"}]},
    {"cpu": {"mode": "host-model"}, "vcpus": 2, "graphics": [{"type": "spice"}], "video": "virtio", "agent": True},
    {"cpu": {"mode": "custom", "model": "qemu64"}, "balloon_period": 5, "graphics": [{"password": "p"}]},
    {
        "cpu": {"mode": "maximum"},
        "balloon": False,
        "rng": False,
        "serial": {"log": "/var/log/libvirt/qemu/kd-serial.log"},
    },
    {"firmware": "uefi", "boot_menu": True, "boot_menu_timeout": 9000, "clock": "localtime"},
    {"firmware": "uefi", "secure_boot": True, "tpm": {}, "watchdog": {"action": "none"}},
    {
        "shares": [{"path": "/usr/share", "tag": "data"}],
        "panic": True,
        "on_crash": "restart",
        "cpuset": "0",
        "numa_nodes": "0",
    },
    {"graphics": [{"type": "spice"}], "spice_agent": True, "usb_redirection": 2, "sound": "ich9", "guest": "windows"},
    {
        "cpu": {"mode": "custom", "model": "qemu64", "features": {"aes": "require"}},
        "vcpus": 2,
        "numa": [{"vcpus": "0", "memory": "16 MiB"}, {"vcpus": "1", "memory": "16 MiB"}],
    },
    {"bios_serial": True, "reboot_timeout": 1000, "disks": [{"device": "cdrom", "tray": "open"}]},
    {"scsi_model": "virtio-scsi", "disks": [{"device": "cdrom", "bus": "scsi"}]},
)


@pytest.mark.parametrize("fields", RUNNING, ids=lambda fields: "-".join(fields) or "minimal")
def test_a_running_domain_is_as_declared(host: Any, image: AbsolutePath, fields: dict[str, Any]) -> None:
    declared = here(decode(Domain, {"name": "x", "memory": "32 MiB", **fields}))
    drive = Disk(device="cdrom", file=image, format="raw")
    ways = (Disk(file=image, format="raw", transient=True), Disk(file=image, format="raw", shareable=True), drive)
    declared = replace(declared, disks=(*declared.disks, ways[RUNNING.index(fields) % 3]))
    with Defined(host, declared) as domain:
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        found = observed(domain, live=True)
        assert [held for held in changes(declared, found) if not held.xpath.startswith(OF_THE_MOMENT)] == []
        assert_law(domain, declared)
