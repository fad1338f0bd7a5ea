# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that move between hosts while they run, over real ssh and TLS, and what is left when that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import certificates
import pytest
from movers import ADDRESSES, WATCHER, Movers, Ping, join_the_wire, moving, told, wait_for, wired
from namespaces import faults
from namespaces.host import Host
from namespaces.lab import Lab
from namespaces.process import PATIENCE

TLS = {"transport": "tls"}
DISCS = "/var/lib/libvirt/dos-vm/seeds"


def is_one_gap(lost: list[int]) -> bool:
    return not lost or lost[-1] - lost[0] + 1 == len(lost)


@pytest.fixture(scope="module")
def movers(lab: Lab, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Movers]:
    """Both machines run, and count."""
    assert image.exists()
    with wired(lab), moving(lab, tmp_path_factory.mktemp("moving")) as made:
        yield made


@pytest.fixture(scope="module")
def tls(movers: Movers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pki")
    certificates.authority(folder)
    for host in movers.hosts.values():
        certificates.install(folder, host)
    return TLS


def test_a_ping_loses_nothing_but_the_switch_over(
    movers: Movers, record_property: Callable[[str, object], None]
) -> None:
    """MIG-01, MIG-05, VM-T2.9, LIMIT-26: it is the same guest with its address, on another host."""
    before = movers.count("m-seen") or 0
    ping = Ping(movers.hosts[WATCHER], ADDRESSES["m-seen"])
    answer = movers.move("m-seen")
    movers.counts_on("m-seen", before)
    sent, lost = ping.end()
    record_property("lost", f"{len(lost)} of {sent}, {answer['figures']}")
    assert is_one_gap(lost), lost
    assert answer["figures"]["memory"] > 0


def test_a_disk_that_is_not_shared_is_copied_when_asked_for(movers: Movers) -> None:
    """MIG-06, MIG-11, LIMIT-27: never by itself, and over the same image, so that only what was written travels."""
    here, before = movers.hosts[movers.home("m-own")], movers.count("m-own") or 0
    refused = movers.answer("m-own", check=True)["reasons"]
    assert [reason for reason in refused if "write storage: copied to have it copied" in reason] == refused != []
    answer = movers.move("m-own", storage="copied", data="plain")
    movers.counts_on("m-own", before)
    assert f"volume m-local/m-own-vda has been removed from {here.name}" in answer["performed"]
    there = movers.hosts[movers.home("m-own")]
    assert "busybox.qcow2" in there.run("virsh", "vol-dumpxml", "m-own-vda", "m-local").stdout
    assert here.run("sh", "-c", "ls /var/lib/dos-vm/moving").stdout == ""


def test_the_disc_that_a_guest_was_set_up_from_goes_with_it(movers: Movers) -> None:
    """CFGD-13: the same bytes, for QEMU to read and for nobody else; and not where the machine was."""
    here, there = movers.hosts[movers.home("m-seen")], movers.hosts[movers.other("m-seen")]
    (path,) = here.run("sh", "-c", f"ls {DISCS}/m-seen/*").stdout.split()
    before = here.run("sha256sum", path).stdout
    movers.move("m-seen")
    assert there.run("sha256sum", path).stdout == before
    assert there.run("stat", "-c", "%a", path).stdout.strip() == "600"
    assert here.run("ls", path, check=False).returncode != 0
    assert "dosvm-seed" not in there.run("virsh", "pool-list", "--all", "--name").stdout


def test_what_was_moved_is_as_declared(movers: Movers) -> None:
    """Addresses, marks and definition have come along, and a copied disk is no change."""
    output = movers.done("dos.vm.plan")
    assert "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions" in output
    assert "disks" not in output


def test_a_machine_that_is_off_goes_with_its_disk(movers: Movers) -> None:
    """MIG-03, MIG-09, MIG-12: byte by byte, through libvirt's own connection, in as many calls as it takes."""
    here, there = movers.hosts[movers.home("m-own")], movers.hosts[movers.other("m-own")]
    file, folder = "/var/lib/dos-vm/moving/m-own-vda", "/var/lib/dos-vm/moving"
    here.run("virsh", "destroy", "m-own")
    here.run("qemu-img", "resize", file, "200M")  # what the test writes is behind what the guest boots from
    here.run("qemu-io", "-c", "write -P 7 32M 64M", "-c", "write -P 9 190M 64k", file)
    digest = here.run("sha256sum", file).stdout.split()[0]
    used = int(here.run("du", "-k", file).stdout.split()[0])
    ways = {"source": here.name, "target": there.name, "seconds": 0.2}
    refused = movers.answer("m-own", check=True, **ways)["reasons"]
    assert [reason for reason in refused if "write storage: copied" in reason] == refused != []

    begun = movers.cut_off("m-own", storage="copied", **ways)
    assert there.run("ls", folder).stdout.split() == ["m-own-vda", "m-own-vda.incoming"], begun
    aborted = movers.answer("m-own", abort=True, **ways)
    assert "has been aborted" in aborted["performed"][0]
    assert there.run("ls", folder).stdout == there.run("ls", f"{DISCS}/m-own").stdout == ""
    assert here.run("sha256sum", file).stdout.split()[0] == digest

    answer = movers.answer("m-own", storage="copied", **ways)
    assert not answer.get("failed"), answer
    assert f"domain m-own has been moved from {here.name} to {there.name}" in answer["performed"]
    assert movers.defined("m-own") == [there.name]
    assert (here.run("ls", folder).stdout, there.run("ls", folder).stdout.split()) == ("", ["m-own-vda"])
    assert [host.run("sh", "-c", f"ls {DISCS}/m-own/* | wc -l").stdout.strip() for host in (here, there)] == ["0", "1"]
    assert there.run("sha256sum", file).stdout.split()[0] == digest
    assert int(there.run("du", "-k", file).stdout.split()[0]) < used + 1024  # holes are holes there as well
    assert "busybox.qcow2" in there.run("virsh", "vol-dumpxml", "m-own-vda", "m-local").stdout
    movers.done("dos.vm.site")
    movers.let_count("m-own")


def test_saved_memory_goes_to_another_host_and_goes_on_there(movers: Movers) -> None:
    """MIG-03, VM-26: what the guest counts is in its memory alone."""
    here, there = movers.hosts[movers.home("m-seen")], movers.hosts[movers.other("m-seen")]
    before = movers.count("m-seen") or 0
    here.run("virsh", "managedsave", "m-seen")
    answer = movers.answer("m-seen", source=here.name, target=there.name)
    assert not answer.get("failed"), answer
    assert f"the memory of m-seen has been saved on {there.name}" in answer["performed"]
    assert (movers.running("m-seen"), movers.defined("m-seen")) == ([], [there.name])
    assert "Managed save:   yes" in there.run("virsh", "dominfo", "m-seen").stdout
    assert here.run("sh", "-c", "ls /var/lib/libvirt/qemu/save").stdout == ""
    there.run("virsh", "start", "m-seen")
    movers.counts_on("m-seen", before)


def test_everything_that_stands_in_the_way_is_told_at_once(movers: Movers) -> None:
    target = movers.hosts[movers.other("m-own")]
    target.run("virsh", "net-destroy", "wire")
    target.run("sh", "-c", "virsh pool-destroy m-local")
    here = movers.hosts[movers.home("m-own")]
    try:
        answer = movers.answer("m-own", storage="copied", data="plain")
        assert answer["failed"]
        assert f"{target.name} has no network wire that runs" in answer["msg"]
        assert f"{target.name} has no pool m-local that runs" in answer["msg"]
    finally:
        target.run("virsh", "net-start", "wire")
        target.run("virsh", "pool-start", "m-local")
    assert movers.home("m-own") == here.name


def test_aborted_it_stays_where_it_was(movers: Movers) -> None:
    here, before = movers.home("m-own"), movers.count("m-own") or 0
    target = movers.hosts[movers.other("m-own")]
    process = movers.begin("m-own", storage="copied", data="plain")
    answer = movers.answer("m-own", source=here, target=target.name, abort=True)
    assert answer["performed"] == [f"the migration of m-own has been aborted, it is on {here}"]
    assert told(process.communicate(timeout=PATIENCE)[0])["failed"]
    assert movers.running("m-own") == movers.defined("m-own") == [here]
    movers.counts_on("m-own", before)
    assert target.run("sh", "-c", f"ls /var/lib/dos-vm/moving {DISCS}/m-own/*", check=False).stdout.split() == [
        "/var/lib/dos-vm/moving:"
    ]


def test_at_its_limit_it_stays_or_stands_still_until_it_is_there(movers: Movers) -> None:
    here, before = movers.home("m-seen"), movers.count("m-seen") or 0
    answer = movers.answer("m-seen", data="plain", bandwidth=4, limit=2)
    assert "the limit of 2 s has passed" in answer["msg"]
    assert f"m-seen runs on {here}" in answer["msg"]
    assert movers.running("m-seen") == movers.defined("m-seen") == [here]
    answer = movers.move("m-seen", data="plain", bandwidth=24, limit=1, at_limit="suspend")
    assert any("stood still after 1 s" in note for note in answer["notes"])
    movers.counts_on("m-seen", before)


def test_a_call_that_ends_early_is_taken_up_by_the_next(movers: Movers) -> None:
    """The playbook's connection may break: the migration goes on, and the same call finds out how it went."""
    source, target = movers.home("m-seen"), movers.other("m-seen")
    process = movers.begin("m-seen", data="plain")
    process.kill()
    process.communicate()
    answer = movers.answer("m-seen", source=source, target=target, data="plain")
    assert not answer.get("failed"), answer
    assert movers.running("m-seen") == movers.defined("m-seen") == [target]
    again = movers.answer("m-seen", source=source, target=target)
    assert not again["changed"]


def test_over_tls_memory_and_disks_are_encrypted_by_qemu(movers: Movers, tls: dict[str, str]) -> None:
    before = {vm: movers.count(vm) or 0 for vm in ADDRESSES}
    movers.move("m-seen", **tls)
    movers.move("m-own", storage="copied", **tls)
    for vm, count in before.items():
        movers.counts_on(vm, count)


def test_a_target_that_dies_half_way_leaves_it_running(movers: Movers, hosts: dict[str, Host], lab: Lab) -> None:
    """MIG-08."""
    here, before = movers.home("m-own"), movers.count("m-own") or 0
    target = movers.hosts[movers.other("m-own")]
    lost = [vm for vm in ADDRESSES if movers.home(vm) == target.name]
    process = movers.begin("m-own", storage="copied", data="plain")
    target.crash()
    answer = told(process.communicate(timeout=PATIENCE)[0])
    assert f"m-own runs on {here}" in answer["msg"]
    movers.counts_on("m-own", before)
    lab.boot(target.name)
    assert movers.running("m-own") == movers.defined("m-own") == [here]
    # Half a copy is still there, and known for what it is.
    left = target.run("sh", "-c", "ls /var/lib/dos-vm/moving").stdout.split()
    assert left == ["m-own-vda", "m-own-vda.incoming"]
    join_the_wire(target)
    movers.done("dos.vm.site")
    for vm in lost:
        movers.let_count(vm)
    movers.move("m-own", storage="copied", data="plain")
    movers.counts_on("m-own", before)
    assert target.run("sh", "-c", "ls /var/lib/dos-vm/moving").stdout.split() == ["m-own-vda"]


def test_a_machine_goes_where_it_is_sent_by_name(movers: Movers) -> None:
    """MIG-02: to a host that its rules allow, and to no other."""
    here, there, before = movers.home("m-seen"), movers.other("m-seen"), movers.count("m-seen") or 0
    refused = movers.play("dos.vm.migrate", dos_vm="m-seen", dos_to=WATCHER)
    assert refused.returncode
    assert "m-seen cannot go to h3" in refused.stdout
    movers.done("dos.vm.migrate", dos_vm="m-seen", dos_to=there)
    assert movers.running("m-seen") == movers.defined("m-seen") == [there] != [here]
    movers.counts_on("m-seen", before)


def test_a_machine_that_is_off_starts_on_the_host_that_was_chosen(movers: Movers) -> None:
    """VM-10, MIG-03, MIG-04: what is off is moved by its definition alone, and the next start is there."""
    here, there = movers.home("m-seen"), movers.other("m-seen")
    movers.done("dos.vm.power", dos_order="stop", dos_vms="m-seen", dos_force=True)
    movers.done("dos.vm.migrate", dos_vm="m-seen", dos_to=there)
    assert (movers.running("m-seen"), movers.defined("m-seen")) == ([], [there])
    assert there != here
    movers.done("dos.vm.power", dos_order="start", dos_vms="m-seen")
    assert movers.running("m-seen") == movers.defined("m-seen") == [there]
    movers.let_count("m-seen")


def test_a_rule_moves_a_machine_when_that_is_allowed(movers: Movers) -> None:
    here, there, before = movers.home("m-seen"), movers.other("m-seen"), movers.count("m-seen") or 0
    away = {"dos_host_settings": {here: {"maintenance": True}}, "dos_migration": {"storage": "copied", "data": "plain"}}
    withheld = f"→ domain m-seen: {here} → {there}  withheld until allowed (dos_allow: [migrate])"
    assert withheld in movers.done("dos.vm.site", **away)
    assert movers.running("m-seen") == [here]
    output = movers.done("dos.vm.site", dos_allow=["migrate"], **away)
    assert f"→ domain m-seen: {here} → {there}  [migrate]" in output
    assert movers.running("m-seen") == movers.defined("m-seen") == [there]
    movers.counts_on("m-seen", before)


def test_a_host_is_emptied_and_gets_its_machines_back(movers: Movers) -> None:
    here, there = movers.home("m-seen"), movers.other("m-seen")
    ways = {"dos_migration": {"storage": "copied", "data": "plain"}}
    were = {vm for vm in ADDRESSES if movers.home(vm) == here}
    before = {vm: movers.count(vm) or 0 for vm in ADDRESSES}
    movers.done("dos.vm.drain", dos_host=here, dos_reason="a new fan", **ways)
    assert not movers.domains(movers.hosts[here], "--all")
    assert {movers.home(vm) for vm in ADDRESSES} == {there}
    assert "a new fan" in movers.hosts[here].run("cat", "/var/lib/dos-vm/maintenance.json").stdout
    # It stays empty: a site that is applied meanwhile brings nothing back, and takes nothing away.
    movers.done("dos.vm.site", dos_allow=["migrate"], **ways)
    assert not movers.domains(movers.hosts[here], "--all")
    movers.done("dos.vm.undrain", dos_host=here, **ways)
    assert {vm for vm in ADDRESSES if movers.home(vm) == here} == were
    for vm, count in before.items():
        movers.counts_on(vm, count)


@pytest.mark.parametrize("whose", ["source", "target"])
def test_a_libvirt_that_dies_half_way_leaves_one_running(movers: Movers, whose: str) -> None:
    here, before = movers.home("m-seen"), movers.count("m-seen") or 0
    host = movers.hosts[here if whose == "source" else movers.other("m-seen")]
    process = movers.begin("m-seen", data="plain")
    host.run("systemctl", "kill", "--signal=KILL", "libvirtd.service")
    answer = told(process.communicate(timeout=PATIENCE)[0])
    assert f"m-seen runs on {here}" in answer["msg"]
    assert movers.running("m-seen") == [here]
    movers.counts_on("m-seen", before)


def test_a_cut_between_the_hosts_leaves_one_running(movers: Movers) -> None:
    here, before = movers.home("m-seen"), movers.count("m-seen") or 0
    target = movers.hosts[movers.other("m-seen")]
    process = movers.begin("m-seen", data="plain", stall=5)
    faults.cut(target)
    try:
        answer = told(process.communicate(timeout=PATIENCE)[0])
    finally:
        faults.join(target)
    assert f"m-seen runs on {here}" in answer["msg"]
    wait_for("the other host to give it up", lambda: movers.running("m-seen") == [here] or None)
    movers.counts_on("m-seen", before)
