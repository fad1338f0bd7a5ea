# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a migration, each alone and all at once (MIG-07)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dosvm.errors import DeclarationError
from dosvm.model.decode import decode
from dosvm.model.host import HostFacts
from dosvm.model.migration import Migration
from dosvm.model.seed import ROOT as SEEDS
from dosvm.plan.migration import Disk, Elsewhere, Guest, Question, Target, copied, notes, reasons
from dosvm.xml.build import parse

GUEST = """<domain type="kvm"><name>web</name><memory unit="KiB">1048576</memory><vcpu>2</vcpu>
<os><type arch="x86_64" machine="pc-q35-7.2">hvm</type></os>
<devices><interface type="network"><source network="lan"/><filterref filter="honest"/></interface>{more}</devices></domain>"""
LAN = '<network><name>lan</name><forward mode="nat"/><ip address="10.0.0.1"/></network>'
SHARED = Disk(target="vda", path="/shared/web", pool="common", volume="web", shared=True)
OUTSIDE = Disk(target="vda", path="/own/nightly", pool="local", volume="nightly", outside="/own/nightly over /own/web")
OWN = Disk(target="vda", path="/own/web", pool="local", volume="web")
WANTED: dict[str, Any] = {"domain": "web", "source": "h1", "target": "h2", "address": "10.0.0.2"}
COPY = {"storage": "copied", "data": "plain"}
FACTS: dict[str, Any] = {
    "hostname": "h", "uuid": "1", "arch": "x86_64", "cpus": 4, "memory": "8 GiB", "kvm": True, "libvirt": 9000000,
    "hypervisor": 7002000, "emulators": {"x86_64": "/usr/bin/qemu-system-x86_64"},
}  # fmt: skip


def facts(**other: Any) -> HostFacts:
    return decode(HostFacts, {**FACTS, **other})


def question(more: str = "", *, disks: tuple[Disk, ...] = (SHARED,), **wanted: Any) -> Question:
    """A machine that can go, and a target that can take it."""
    return Question(
        wanted=decode(Migration, {**WANTED, **wanted}),
        guest=Guest(name="web", uuid="u", xml=parse(GUEST.format(more=more)), disks=disks),
        source=facts(),
        networks={"lan": parse(LAN)},
        target=Target(
            facts=facts(uuid="2"),
            machines=frozenset(["pc-q35-7.2"]),
            vcpus=255,
            memory=2**32,
            networks={"lan": parse(LAN)},
            nwfilters=frozenset(["honest"]),
            pools={"common": "/shared", "local": "/own"},
            files=frozenset(["/shared/web"]),
        ),
    )


def at(**other: Any) -> Callable[[Question], Question]:
    return lambda asked: replace(asked, target=replace(asked.target, **other))


def of(**other: Any) -> Callable[[Question], Question]:
    return lambda asked: replace(asked, guest=replace(asked.guest, **other))


def test_nothing_stands_in_the_way_of_a_machine_on_shared_storage() -> None:
    assert reasons(question()) == []


WAYS: dict[str, tuple[Callable[[Question], Question], str]] = {
    "the same host": (at(facts=facts()), "h2 is the host it is on"),
    "another of that name": (at(domains={"web": Elsewhere("other", False)}), "h2 has another machine of that name"),
    "runs there": (at(domains={"web": Elsewhere("u", True)}), "it runs on h2 as well"),
    "crashed": (of(state="crashed"), "it has crashed"),
    "snapshots": (of(snapshots=2), "it has 2 snapshots"),
    "block job": (of(block_jobs=("vda",)), "a job is at work on vda"),
    "no board": (at(machines=frozenset()), "h2 has no board pc-q35-7.2"),
    "other architecture": (at(facts=facts(uuid="2", emulators={"aarch64": "/q"})), "h2 has no emulator for x86_64"),
    "no KVM": (at(facts=facts(uuid="2", kvm=False)), "it runs on KVM, and h2 has none"),
    "older QEMU": (at(facts=facts(uuid="2", hypervisor=6002000)), "h2 has QEMU 6.2 and this host 7.2"),
    "processor": (at(cpu="its processor has features"), "its processor has features"),
    "memory": (at(memory=2**29), "h2 has 512 MiB of memory free, 1 GiB needed"),
    "vCPUs": (at(vcpus=1), "h2 gives a machine 1 vCPUs at most, 2 needed"),
    "no network": (at(networks={}), "h2 has no network lan that runs"),
    "another network": (
        at(networks={"lan": parse(LAN.replace("10.0.0.1", "10.9.9.1"))}),
        "network lan is another one on h2: nat 10.9.9.1 there, nat 10.0.0.1 here",
    ),
    "no filter": (at(nwfilters=frozenset()), "h2 has no filter honest"),
    "no pool": (at(pools={}), "h2 has no pool common that runs"),
    "another path": (at(pools={"common": "/elsewhere"}), "pool common is at /elsewhere on h2"),
    "file not seen": (at(files=frozenset()), "h2 does not see common/web (vda) at /shared/web"),
    "a disk that is gone": (of(disks=(replace(SHARED, path=""),)), "its disk vda is common/web, which is not there"),
}


@pytest.mark.parametrize(("change", "text"), WAYS.values(), ids=WAYS.keys())
def test_each_reason_is_told(change: Callable[[Question], Question], text: str) -> None:
    (reason,) = reasons(change(question()))
    assert reason.startswith(text)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("<hostdev mode='subsystem' type='pci'/>", "it has a device of the host"),
        ("<filesystem><source dir='/x'/></filesystem>", "it has a directory of the host"),
        ("<graphics type='vnc' port='5901' autoport='yes' listen='10.0.0.1'/>", "its console listens on 10.0.0.1"),
        (
            "<lease><lockspace>s</lockspace><key>k</key><target path='/own/lease'/></lease>",
            "its lease is at /own/lease",
        ),
        ("<disk type='file'><encryption><secret uuid='s'/></encryption></disk>", "h2 lacks the secret s of a disk"),
    ],
)
def test_devices_that_hold_it_are_told(more: str, text: str) -> None:
    (reason,) = reasons(question(more))
    assert reason.startswith(text)


def test_all_of_them_are_told_at_once() -> None:
    several = at(networks={}, memory=1, machines=frozenset())(of(snapshots=1)(question()))
    assert len(reasons(several)) == 4


def test_a_layer_made_outside_is_not_copied_but_moves_with_shared_storage() -> None:
    (reason,) = reasons(question(disks=(OUTSIDE,), **COPY))
    assert reason.startswith("disk vda is on layer /own/nightly over /own/web, made outside dos.vm")
    assert "made outside" not in "".join(reasons(question(disks=(replace(OUTSIDE, shared=True),))))


def test_a_disk_of_one_host_is_copied_only_when_asked_for() -> None:
    (reason,) = reasons(question(disks=(OWN,)))
    assert reason.endswith("write storage: copied to have it copied")
    asked = question(disks=(OWN, replace(SHARED, target="vdb")), **COPY)
    assert reasons(asked) == []
    assert [disk.target for disk in copied(asked)] == ["vda"]


def test_a_file_at_the_same_path_is_not_taken_for_the_same_file() -> None:
    """A copy from before is at the path that the machine's disk has, and booting it would lose what was written since."""
    (reason,) = reasons(at(files=frozenset(["/own/web"]))(question(disks=(OWN,))))
    assert "is on no file system known to be shared" in reason
    (reason,) = reasons(at(files=frozenset(["/own/web"]))(question(disks=(OWN,), **COPY)))
    assert "dos_allow: [{data_loss: [volume local/web]}]" in reason
    named = question(disks=(OWN,), replace_copies=["volume local/web"], **COPY)
    assert reasons(at(files=frozenset(["/own/web"]))(named)) == []


def test_half_a_copy_is_in_nobodys_way() -> None:
    left = at(files=frozenset(["/own/web"]), unfinished=frozenset(["/own/web"]))
    assert reasons(left(question(disks=(OWN,), **COPY))) == []


def test_what_will_be_prepared_counts_as_there() -> None:
    missing = at(networks={}, nwfilters=frozenset(), pools={}, files=frozenset())
    prepared = ["network lan", "nwfilter honest", "pool common"]
    assert reasons(missing(question(prepared=prepared))) == []


def test_a_running_machines_disks_go_through_no_tunnel() -> None:
    (reason,) = reasons(question(disks=(OWN,), storage="copied"))
    assert "cannot be copied through a tunnel, write data: tls" in reason


def test_a_machine_that_is_off_needs_no_room_and_goes_any_way() -> None:
    """MIG-03: only where it runs next changes. MIG-12: its disks go along, encrypted ones too."""
    off = of(active=False, state="shut off")
    assert reasons(at(memory=0)(off(question()))) == []
    assert reasons(off(question(disks=(replace(OWN, encrypted=True),), storage="copied"))) == []
    (reason,) = reasons(off(question(disks=(OWN,))))
    assert reason.endswith("write storage: copied to have it copied")


def test_saved_memory_needs_what_a_running_machine_needs() -> None:
    """VM-26."""
    saved = of(active=False, state="shut off", saved=True)
    assert reasons(saved(question("<tpm model='tpm-crb'><backend type='emulator'/></tpm>"))) == []
    (reason,) = reasons(at(memory=2**29)(saved(question())))
    assert reason == "h2 has 512 MiB of memory free, 1 GiB needed"


def test_what_a_disk_is_layered_over_has_to_be_there_before_it() -> None:
    off = of(active=False, state="shut off")
    asked = off(question(disks=(replace(OWN, backing="/own/image"),), storage="copied"))
    (reason,) = reasons(asked)
    assert "is layered over /own/image, which h2 does not see: bring it there" in reason
    assert reasons(at(files=frozenset(["/own/image"]))(asked)) == []


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("</devices><os><nvram>/var/lib/web.fd</nvram></os><devices>", "settings of its firmware"),
        ("<tpm model='tpm-crb'><backend type='emulator'/></tpm>", "TPM"),
    ],
)
def test_what_libvirt_keeps_beside_the_disks_goes_with_a_running_machine_only(more: str, what: str) -> None:
    asked = question(more)
    assert reasons(asked) == []
    (reason,) = reasons(of(active=False, state="shut off")(asked))
    assert reason == f"it is off, and the {what} would stay behind: move it while it runs"


def test_a_network_that_ends_at_its_host_is_noted() -> None:
    assert list(notes(question())) == [
        "network lan ends at its host: connections through it break, new ones work (MIG-10)"
    ]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"parallel": 2}, "one tunnel is one connection"),
        ({"transport": "tls", "parallel": 2, "compression": "xbzrle"}, "goes with one connection only"),
        ({"transport": "tls", "storage": "copied", "post_copy": True}, "goes with shared storage only"),
    ],
)
def test_ways_that_exclude_each_other_are_refused(said: dict[str, Any], text: str) -> None:
    with pytest.raises(DeclarationError, match=text):
        decode(Migration, {**WANTED, **said})


def test_the_disc_of_a_machine_is_nothing_that_the_target_must_have() -> None:
    """CFGD-13: it goes with the machine; a medium that is nobody's but the host's has to be there."""
    disc = Disk(target="sdf", path=f"{SEEDS}/web/1.iso", pool=None, volume=None, writable=False)
    assert list(reasons(question(disks=(SHARED, disc)))) == []
    medium = replace(disc, path="/srv/other.iso")
    (reason,) = reasons(question(disks=(SHARED, medium)))
    assert "h2 does not see /srv/other.iso (sdf)" in reason
