# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes on real libvirt and QEMU: every format, encryption, what becomes of files that go and of data that must go."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest

from dosvm.apply import Outcome, converge
from dosvm.errors import ConflictError
from dosvm.hypervisor import storage
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.storage import BESIDE
from dosvm.model.address import Address, Mark
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import Name
from dosvm.model.volume import Format
from dosvm.plan.action import CreateVolume

KEYS = {"disk": b"correct horse"}


class Host:
    """One pool of this machine's libvirt, in a directory that QEMU's user reaches."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, path: Path) -> None:
        self.hypervisor, self.prefix, self.path = hypervisor, prefix, path
        self.mark = Mark(site=Name("test"))

    def converge(self, *volumes: dict[str, Any], disks: tuple[dict[str, Any], ...] = (), **more: Any) -> Outcome:
        """What is declared: volumes of the pool, and a machine with these disks."""
        outcome = self.tried(*volumes, disks=disks, **more)
        assert outcome.failures == ()
        return outcome

    def tried(self, *volumes: dict[str, Any], disks: tuple[dict[str, Any], ...] = (), **more: Any) -> Outcome:
        """As `converge`, and it may fail."""
        domain = {"name": self.prefix, "memory": "16 MiB", "disks": disks, "mark": {"site": "test"}, "stop_timeout": 0}
        slice_ = decode(
            Slice,
            {
                "site": "test",
                "secrets": [{"name": f"{self.prefix}-disk"}],
                "pools": [{"name": self.prefix, "path": str(self.path), **more.pop("pool", {})}],
                "volumes": [{"pool": self.prefix, "capacity": "16 MiB", **volume} for volume in volumes],
                "domains": [domain | more.pop("domain", {})] if disks else [],
            },
        )
        dry = more.pop("dry_run", False)
        permission = Permission(prune=True, **more)
        keys = {f"{self.prefix}-{name}": value for name, value in KEYS.items()}
        return converge(slice_, self.hypervisor, permission=permission, secrets=keys, dry_run=dry)

    def names(self, *volumes: str) -> tuple[str, ...]:
        return tuple(f"volume {self.prefix}/{name}" for name in volumes)

    def file(self, name: str) -> Path:
        return self.path / name


@pytest.fixture
def host(hypervisor: LibvirtHypervisor, prefix: str) -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="dosvm-volumes-", dir="/var/lib") as folder:
        Path(folder).chmod(0o755)
        held = Host(hypervisor, prefix, Path(folder))
        yield held
        for address, seen in hypervisor.observe("test").items():  # before the directory goes
            if address.kind == "domain" and address.name.startswith(prefix) and seen.active:
                subprocess.run(["virsh", "destroy", address.name], check=False, capture_output=True)


def qemu_img(*arguments: str | Path) -> str:
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_format_is_made_and_stays_as_declared(host: Host) -> None:
    """VOL-T1, CONV-02."""
    volumes = [{"name": f"{host.prefix}-{kind}", "format": kind} for kind in get_args(Format)]
    more = [
        {"name": f"{host.prefix}-old", "compat": "0.10"},
        {"name": f"{host.prefix}-lazy", "lazy_refcounts": True},
        {"name": f"{host.prefix}-mode", "format": "raw", "permissions": {"mode": "0640", "owner": 1, "group": 2}},
    ]
    host.converge(*volumes, *more)
    assert not host.converge(*volumes, *more).changed
    for kind in get_args(Format):
        assert f"file format: {kind}\n" in qemu_img("info", host.file(f"{host.prefix}-{kind}"))
    assert "compat: 0.10" in qemu_img("info", host.file(f"{host.prefix}-old"))
    assert "lazy refcounts: true" in qemu_img("info", host.file(f"{host.prefix}-lazy"))
    found = host.file(f"{host.prefix}-mode").stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o640, 1, 2)


def test_what_cannot_grow_is_said_before_anything_is_done(host: Host) -> None:
    """CONV-02."""
    host.converge({"name": "box", "format": "vdi"}, {"name": "other"})
    with pytest.raises(ConflictError, match="QEMU cannot make a vdi file larger: convert it"):
        host.converge({"name": "box", "format": "vdi", "capacity": "64 MiB"}, {"name": "other", "capacity": "64 MiB"})
    assert "virtual size: 16 MiB" in qemu_img("info", host.file("other"))


@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_an_encrypted_volume_opens_with_its_secret_alone_and_a_guest_runs_on_it(host: Host, kind: str) -> None:
    secret = {"secret": f"{host.prefix}-disk"}
    volume = {"name": "vault", "format": kind, "encryption": secret}
    disk = {"pool": host.prefix, "volume": "vault", "format": kind, "encryption": secret}
    host.converge(volume, disks=(disk,))
    subprocess.run(["virsh", "pool-refresh", host.prefix], check=True, capture_output=True)
    assert not host.converge(volume, disks=(disk,)).changed  # libvirt has forgotten by now what unlocks it
    running = host.hypervisor.observe("test")[Address("domain", host.prefix)]
    assert running.active
    content = host.file("vault").read_bytes()
    assert b"LUKS\xba\xbe" in content
    assert KEYS["disk"] not in content


def test_a_wrong_passphrase_starts_nothing_and_is_not_shown(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = {"secret": f"{host.prefix}-disk"}
    volume = {"name": "vault", "encryption": secret}
    host.converge(volume)
    monkeypatch.setitem(KEYS, "disk", b"battery staple")
    disk = {"pool": host.prefix, "volume": "vault", "format": "qcow2", "encryption": secret}
    with pytest.raises(AssertionError) as failed:
        host.converge(volume, disks=(disk,))
    assert "Invalid password" in str(failed.value)
    assert "battery" not in str(failed.value)


def test_a_wiped_volume_leaves_zeros_where_its_data_was(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge({"name": "secret-plans", "format": "raw"})
    file = host.file("secret-plans")
    with file.open("r+b") as held:
        held.seek(5 * 2**20)
        held.write(b"the plans" * 1000)
    seen: list[bytes] = []
    wipe = storage.wipe

    def watched(volume: Any) -> None:
        wipe(volume)
        seen.append(file.read_bytes())

    monkeypatch.setattr("dosvm.hypervisor.libvirt.wipe", watched)
    outcome = host.converge(wipe=True, data_loss=host.names("secret-plans"))
    assert f"volume {host.prefix}/secret-plans has been wiped and deleted" in outcome.performed
    assert [len(held) for held in seen] == [16 * 2**20]
    assert not seen[0].strip(b"\0")
    assert not file.exists()


def test_a_file_that_is_gone_is_not_replaced_by_an_empty_one(host: Host) -> None:
    """LIMIT-12, VOL-08."""
    disk = {"pool": host.prefix, "volume": "data", "format": "qcow2"}
    off = {"active": False}
    host.converge({"name": "data"}, disks=(disk,), domain=off)
    kept = host.file("data").rename(host.file("data").with_suffix(".aside"))
    outcome = host.converge({"name": "data"}, disks=(disk,), domain=off)
    (plan,) = [plan for plan in outcome.plans if plan.address.kind == "volume" and plan.address.name.endswith("/data")]
    assert "its file is missing" in plan.reason
    assert plan.withheld  # which the daemon counts as drift
    assert not host.file("data").exists()
    kept.rename(host.file("data"))
    assert not host.converge({"name": "data"}, disks=(disk,), domain=off).changed
    host.file("data").unlink()
    allowed = host.converge({"name": "data"}, disks=(disk,), domain=off, data_loss=host.names("data"))
    assert allowed.performed == (f"volume {host.prefix}/data has been created",)


def test_a_pool_that_is_not_active_hides_neither_a_file_nor_that_it_is_missing(host: Host) -> None:
    """VOL-08, VOL-T1.12: a mount that did not come back; and what it costs a domain is a wait, not a failure."""
    disk = {"pool": host.prefix, "volume": "data", "format": "qcow2"}
    spare = {"name": "spare"}
    host.converge({"name": "data"}, spare, disks=(disk,), domain={"active": False})
    subprocess.run(["virsh", "pool-destroy", host.prefix], check=True, capture_output=True)
    found = host.converge({"name": "data"}, spare, disks=(disk,), domain={"active": False})
    assert [sentence for sentence in found.performed if "volume" in sentence] == []
    subprocess.run(["virsh", "pool-destroy", host.prefix], check=True, capture_output=True)
    for name in ("data", "spare"):
        host.file(name).unlink()
    for dry in (True, False):
        outcome = host.converge({"name": "data"}, spare, disks=(disk,), dry_run=dry)
        reasons = {str(plan.address): plan.reason for plan in outcome.plans}
        assert all("its file is missing" in reasons[name] for name in host.names("data", "spare"))
        assert reasons[f"domain {host.prefix}"] == f"waits for {host.names('data')[0]}"
    assert not host.file("data").exists()
    assert not host.file("spare").exists()


def test_a_volume_is_made_anew_beside_the_old_one_which_stays_when_that_fails(host: Host) -> None:
    old, new = (host.path.parent / f"{host.path.name}-{name}.qcow2" for name in ("old", "new"))
    for image in (old, new):
        qemu_img("create", "-q", "-f", "qcow2", image, "16M")
    try:
        layers = [
            {"name": "layer", "backing": {"path": str(path), "format": "qcow2"}} for path in (old, new, f"{new}x")
        ]
        host.converge(layers[0])
        allowed = {"data_loss": host.names("layer"), "wipe": True}
        before = host.file("layer").stat()
        ((_, told),) = host.tried(layers[2], **allowed).failures
        assert f"{new}x, which it is to be layered over, is not there" in told
        assert host.file("layer").stat() == before
        qemu_img(
            "create", "-q", "-f", "qcow2", host.file(f"layer{BESIDE}"), "16M"
        )  # of a run that was killed in between
        subprocess.run(["virsh", "pool-refresh", host.prefix], check=True, capture_output=True)
        assert f"{host.names('layer')[0]} has been wiped and made anew" in host.converge(layers[1], **allowed).performed
        assert str(new) in qemu_img("info", host.file("layer"))
        assert [path.name for path in host.path.iterdir()] == ["layer"]
        assert not host.converge(layers[1]).changed
    finally:
        old.unlink()
        new.unlink()


def test_a_file_that_came_without_libvirt_is_seen_where_a_machine_has_it(host: Host) -> None:
    """VOL-07."""
    disk = {"pool": host.prefix, "volume": "data", "format": "qcow2"}
    off = {"active": False}
    host.converge({"name": "data"}, disks=(disk,), domain=off)
    host.file("data").unlink()
    subprocess.run(["virsh", "pool-refresh", host.prefix], check=True, capture_output=True)
    qemu_img("create", "-q", "-f", "qcow2", host.file("data"), "16M")
    assert not host.converge({"name": "data"}, disks=(disk,), domain=off).changed


def test_a_declared_volume_that_another_host_made_is_taken(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """VOL-07: one before the plan, and one between the plan and the action."""
    early, late = {"name": "early"}, {"name": "late"}
    host.converge()
    qemu_img("create", "-q", "-f", "qcow2", host.file("early"), "16M")
    assert not host.converge(early).changed

    def outrun(action: Any, secrets: Any, perform: Any = host.hypervisor.perform) -> None:
        if isinstance(action, CreateVolume):
            qemu_img("create", "-q", "-f", "qcow2", host.file("late"), "16M")
            subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", host.file("late")], check=True, capture_output=True)
        perform(action, secrets)

    monkeypatch.setattr(host.hypervisor, "perform", outrun)
    assert host.converge(early, late).performed == (f"volume {host.prefix}/late has been found",)
    read = subprocess.run(["qemu-io", "-c", "read -P 7 0 64k", host.file("late")], capture_output=True, text=True)
    assert "verification failed" not in read.stdout


@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_a_layer_is_not_smaller_than_its_image(host: Host, format_: str) -> None:
    base = host.path.parent / f"{host.path.name}.{format_}"
    qemu_img("create", "-q", "-f", format_, base, "32M")
    try:
        layer = {"name": "layer", "backing": {"path": str(base), "format": format_}}
        ((_, told),) = host.tried({**layer, "capacity": "16 MiB"}).failures
        assert f"would have 16 MiB, and {base} has 32 MiB: write that capacity or more (CONV-12)" in told
        assert not host.file("layer").exists()
        assert host.converge({**layer, "capacity": "32 MiB"}).changed
    finally:
        base.unlink()


def test_a_base_is_not_made_anew_under_its_layer(host: Host) -> None:
    layer = {"name": "layer", "backing": {"volume": "base", "format": "qcow2"}}
    host.converge({"name": "base"}, layer)
    outcome = host.converge({"name": "base", "format": "raw"}, layer, data_loss=host.names("base"))
    told = next(plan for plan in outcome.plans if str(plan.address) == host.names("base")[0])
    assert told.needs == f"data_loss: [{', '.join(host.names('base', 'layer'))}]"
    assert "qcow2" in qemu_img("info", host.file("base"))


def test_a_pool_goes_to_another_place_when_its_volumes_were_moved_there(host: Host) -> None:
    disk = {"pool": host.prefix, "volume": "data", "format": "qcow2"}
    volumes = ({"name": "data"}, {"name": "more"})
    host.converge(*volumes, disks=(disk,), domain={"active": False})
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", host.file("data")], check=True, capture_output=True)
    old, host.path = host.path, host.path / "new"

    with pytest.raises(ConflictError, match=f"move all of it to {host.path} while its machines are off"):
        host.converge(*volumes, disks=(disk,), domain={"active": False}, recreate=True)
    assert not host.path.exists()
    host.path.mkdir()
    for name in ("data", "more"):
        (old / name).rename(host.file(name))
    allow = {"recreate": True, "data_loss": (f"pool {host.prefix}",)}
    outcome = host.tried(*volumes, disks=(disk,), domain={"active": False}, **allow)
    # What no machine has cannot be told from a new one before its pool is there; when it is, libvirt finds the file.
    assert outcome.failures == ()
    assert not host.converge(*volumes, disks=(disk,), domain={"active": False}).changed
    read = subprocess.run(
        ["qemu-io", "-c", "read -P 7 0 64k", host.file("data")], capture_output=True, text=True, check=True
    )
    assert "verification failed" not in read.stdout
    assert sorted(path.name for path in host.path.iterdir()) == ["data", "more"]
    host.path = old


def test_a_volume_whose_maker_was_killed_is_waited_for(host: Host) -> None:
    volume = {"name": "vault", "encryption": {"secret": f"{host.prefix}-disk"}}  # keys are derived for seconds
    host.converge({"name": "other"})
    if not (child := os.fork()):
        try:
            with closing(LibvirtHypervisor()) as host.hypervisor:
                host.converge({"name": "other"}, volume)
        finally:
            os._exit(99)
    try:
        end = time.monotonic() + 60
        while not host.file("vault").exists() and time.monotonic() < end:
            time.sleep(0.001)
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    host.converge(
        {"name": "other"}, volume
    )  # where QEMU gave up on the key, nobody was there to ask again: it is made now
    assert not host.converge({"name": "other"}, volume).changed
    assert "encrypted: yes" in qemu_img("info", host.file("vault"))


def test_a_pool_that_a_machine_runs_on_does_not_go_elsewhere(host: Host) -> None:
    disk = {"pool": host.prefix, "volume": "data", "format": "qcow2"}
    host.converge({"name": "data"}, disks=(disk,))
    host.path = host.path / "new"
    with pytest.raises(ConflictError, match=f"would be stopped under domain {host.prefix}, which runs: stop it first"):
        host.converge({"name": "data"}, disks=(disk,), recreate=True, data_loss=(f"pool {host.prefix}",))
    assert not host.path.exists()


def test_the_mode_of_a_pool_with_volumes_changes_in_place(host: Host) -> None:
    disk = {"pool": host.prefix, "volume": "data", "format": "qcow2"}
    host.converge({"name": "data"}, disks=(disk,))
    outcome = host.converge({"name": "data"}, disks=(disk,), pool={"permissions": {"mode": "0751"}})
    assert outcome.changed
    assert host.path.stat().st_mode & 0o777 == 0o751
    assert not host.converge({"name": "data"}, disks=(disk,), pool={"permissions": {"mode": "0751"}}).changed


def test_a_base_is_not_written_while_something_is_layered_over_it(host: Host) -> None:
    """VSNP-03, LIMIT-13."""
    disk = {"pool": host.prefix, "volume": "base", "format": "qcow2"}
    volumes = ({"name": "base"}, {"name": "layer", "capacity": "16 MiB", "backing": {"volume": "base"}})
    host.converge(*volumes)
    with pytest.raises(ConflictError, match=r"layered over it.*VSNP-03"):
        host.converge(*volumes, disks=(disk,))
    host.converge(*volumes, disks=({**disk, "read_only": True},))
    layered = {"pool": host.prefix, "volume": "layer", "format": "qcow2", "target": "vdb"}
    host.converge(*volumes, disks=({**disk, "read_only": True}, layered))


def test_a_volume_goes_from_one_machine_to_another_with_what_is_on_it(host: Host) -> None:
    """VOL-09: in one run, out of one that is switched off into one that runs, which waits for that."""
    disk = {"pool": host.prefix, "volume": "data", "format": "qcow2", "target": "vda"}
    system = {"pool": host.prefix, "volume": "system", "format": "qcow2", "target": "vdb"}
    names = (host.prefix, f"{host.prefix}-two")

    def converged(*machines: dict[str, Any]) -> Outcome:
        common = {"memory": "16 MiB", "mark": {"site": "test"}, "stop_timeout": 0}
        held = {
            "site": "test",
            "pools": [{"name": host.prefix, "path": str(host.path)}],
            "volumes": [{"pool": host.prefix, "name": name, "capacity": "16 MiB"} for name in ("data", "system")],
            "domains": [{"name": name, **common, **machine} for name, machine in zip(names, machines, strict=False)],
        }
        outcome = converge(decode(Slice, held), host.hypervisor, permission=Permission(restart=True), secrets={})
        assert outcome.failures == ()
        return outcome

    converged()
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", host.file("data")], check=True, capture_output=True)
    converged({"disks": (system,)}, {"disks": (disk,)})
    after = ({"disks": (disk, system)}, {"active": False})
    assert converged(*after).performed[-1] == f"domain {names[0]} has been given disk vda"
    assert not converged(*after).changed
    seen = host.hypervisor.observe("test")
    has = {name: len(seen[Address("domain", name)].xml.findall("devices/disk")) for name in names}
    assert has == {names[0]: 2, names[1]: 0}
    read = ["qemu-io", "-r", "-U", "-c", "read -P 7 0 64k", str(host.file("data"))]
    assert "verification failed" not in subprocess.run(read, capture_output=True, text=True, check=True).stdout


def test_a_corrupt_file_harms_nothing_beside_it(host: Host) -> None:
    host.converge({"name": "data"}, {"name": "other"})
    with host.file("data").open("r+b") as file:
        file.write(b"QFI\xfb\0\0\0\x03" + b"\xff" * 96)
    with pytest.raises(ConflictError, match=f"volume {host.prefix}/data is damaged: by its header"):
        host.converge({"name": "data"}, {"name": "other"})
    assert "virtual size: 16 MiB" in qemu_img("info", host.file("other"))


@pytest.fixture
def small(host: Host) -> Iterator[Host]:
    """The pool's directory is a file system of 24 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "dosvm-test", host.path], check=True)
    yield host
    subprocess.run(["virsh", "pool-destroy", host.prefix], check=False, capture_output=True)
    subprocess.run(["umount", host.path], check=True)


def test_nothing_is_made_below_a_mount_point(small: Host) -> None:
    small.converge({"name": "data"})
    subprocess.run(["virsh", "pool-destroy", small.prefix], check=True, capture_output=True)
    subprocess.run(["umount", small.path], check=True)
    try:
        outcome = small.converge({"name": "data"}, {"name": "more"})
        assert outcome.performed == ()
        assert f"is not mounted at {small.path}: mount it" in next(
            plan.reason for plan in outcome.plans if plan.address.kind == "pool" and plan.address.name == small.prefix
        )
        assert list(small.path.iterdir()) == []
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "dosvm-test", small.path], check=True)


def test_a_disk_that_fills_up_in_the_middle_of_a_volume_loses_nothing(small: Host) -> None:
    full = {"format": "raw", "allocation": "16 MiB"}
    small.converge({"name": "first", **full})
    before = small.file("first").read_bytes()
    with pytest.raises(AssertionError, match="No space left on device"):
        small.converge({"name": "first", **full}, {"name": "second", **full}, {"name": "third"})
    assert small.file("first").read_bytes() == before
    assert not small.file("second").exists()
    assert small.file("third").exists(), "what does not stand on it was not made"
    subprocess.run(["mount", "-o", "remount,size=64m", small.path], check=True)
    small.converge({"name": "first", **full}, {"name": "second", **full}, {"name": "third"})
    assert not small.converge({"name": "first", **full}, {"name": "second", **full}, {"name": "third"}).changed


def test_a_rotated_secret_changes_itself_and_nothing_else(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """SECO-07."""
    volume = {"name": "vault", "encryption": {"secret": f"{host.prefix}-disk"}}
    host.converge(volume, {"name": "plain"})
    monkeypatch.setitem(KEYS, "disk", b"battery staple")
    outcome = host.converge(volume, {"name": "plain"})
    assert {sentence.split(" has ")[0] for sentence in outcome.performed} == {f"secret {host.prefix}-disk"}
    assert not host.converge(volume, {"name": "plain"}).changed
