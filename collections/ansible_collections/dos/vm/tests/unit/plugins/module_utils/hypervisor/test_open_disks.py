# SPDX-License-Identifier: GPL-3.0-or-later
"""A second domain does not open what a running one has open, whatever path leads there."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from dosvm.errors import HypervisorError
from dosvm.hypervisor import file_marks
from dosvm.hypervisor.file_marks import is_one, marks, mounts, stands_on
from dosvm.hypervisor.open_disks import Running
from dosvm.hypervisor.ready import refuse_files, refuse_resume
from dosvm.xml.build import parse

TABLE = """\
21 1 0:19 / /srv/nas rw - nfs4 nas:/vm rw,vers=4.2,addr=10.0.0.9
22 1 0:19 /deep /srv/with\\040space rw - nfs4 nas:/vm rw,vers=4.2,addr=10.0.0.9
23 1 0:20 / /srv/by-address rw - nfs 10.0.0.9:/vm rw,addr=10.0.0.9
24 1 0:21 / /srv/six rw - nfs4 [fd00::9]:/vm rw,addr=fd00::9
25 1 0:22 / /srv/share rw - cifs //nas/vm rw,addr=10.0.0.9
26 1 8:1 / / rw - ext4 /dev/sda1 rw
"""


class Domain:
    """A running domain, as libvirt's binding shows one."""

    def __init__(self, name: str, disks: str) -> None:
        self._name, self._disks, self.os = name, disks, ""

    def UUIDString(self) -> str:
        return self._name

    def ID(self) -> int:
        return 1

    def name(self) -> str:
        return self._name

    def XMLDesc(self) -> str:
        return f"<domain><name>{self._name}</name><uuid>{self._name}</uuid>{self.os}<devices>{self._disks}</devices></domain>"


class Connection:
    """A host with running domains, by name."""

    def __init__(self, uri: str = "qemu:///system", **disks: str) -> None:
        self._uri, self._domains = uri, [Domain(name, xml) for name, xml in disks.items()]

    def getURI(self) -> str:
        return self._uri

    def listAllDomains(self, flags: int) -> list[Domain]:
        return self._domains


def disk(path: str | Path, more: str = "", *, target: str = "vda", kind: str = "raw") -> str:
    driver = f"<driver type='{kind}'/>"
    return f"<disk device='disk'>{driver}<source file='{path}'/><target dev='{target}'/>{more}</disk>"


def refused(connection: Connection, *disks: str) -> list[str]:
    domain = parse(f"<domain><name>new</name><uuid>new</uuid><devices>{''.join(disks)}</devices></domain>")
    return list(Running(connection).refuse_start(domain))


def layer(path: Path, base: Path | str) -> Path:
    """The head of a qcow2 file that is layered over another."""
    name = os.fsencode(base)
    path.write_bytes(struct.pack(">4sIQI", b"QFI\xfb", 3, 20, len(name)) + name)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"data")
    return path


def ways(file: Path) -> dict[str, Path]:
    """Other paths to a file."""
    (folder := file.parent / "there").symlink_to(file.parent)
    (symbolic := file.parent / "symbolic").symlink_to(file)
    os.link(file, hard := file.parent / "hard")
    spelled = f"{file.parent}/./{file.name}"
    return {"same": file, "folder": folder / file.name, "symbolic": symbolic, "hard": hard, "spelled": Path(spelled)}


@pytest.mark.parametrize("way", ["same", "folder", "symbolic", "hard", "spelled"])
def test_a_file_has_one_writer_by_whatever_path(file: Path, way: str) -> None:
    path = ways(file)[way]
    (text,) = refused(Connection(first=disk(file)), disk(path, target="vdb"))
    assert text.startswith(f"vdb would write {path}, and domain first, which runs, writes it (vda")
    assert text.endswith(": stop first, or use another disk (VM-08)")
    assert refused(Connection(first=disk(file, "<readonly/>")), disk(path)) == []
    assert refused(Connection(first=disk(file)), disk(path, "<readonly/>")) == []
    assert refused(Connection(first=disk(file, "<shareable/>")), disk(path, "<shareable/>")) == []
    assert len(refused(Connection(first=disk(file, "<shareable/>")), disk(path))) == 1


def test_what_a_running_domain_is_layered_over_is_not_written(file: Path) -> None:
    open_layer = disk(file.parent / "layer", f"<backingStore type='file'><source file='{file}'/></backingStore>")
    (text,) = refused(Connection(first=open_layer), disk(ways(file)["symbolic"]))
    assert "domain first, which runs, has a disk layered over it" in text
    assert refused(Connection(first=open_layer), disk(layer(file.parent / "other", file), kind="qcow2")) == []


def test_what_a_running_domain_writes_has_no_layers(file: Path) -> None:
    middle = layer(file.parent / "middle", file.name)
    top = layer(file.parent / "top", ways(file)["symbolic"].parent / "middle")
    (text,) = refused(Connection(first=disk(file)), disk(top, kind="qcow2"))
    assert text.startswith(f"vda is layered over {middle.parent}/disk.raw, and domain first, which runs, writes it")
    # What a guest wrote into a raw disk is no header of ours.
    assert refused(Connection(first=disk(file)), disk(top)) == []
    (text,) = refused(Connection(first=disk(file)), disk(file, "<transient/>"))
    assert "is layered over" in text


def test_a_copy_that_is_being_made_is_written(file: Path) -> None:
    copying = disk(file.parent / "old", f"<mirror><source file='{file}'/></mirror>")
    assert len(refused(Connection(first=copying), disk(file))) == 1


def test_a_domain_does_not_open_one_file_twice(file: Path) -> None:
    (text,) = refused(Connection(), disk(file), disk(ways(file)["hard"], target="vdb"))
    assert text == f"vdb and vda are one disk, {file.parent}/hard: leave one out (VM-08)"


def test_the_variables_of_a_firmware_are_one_domains(file: Path) -> None:
    running = Connection(first="")
    running.listAllDomains(0)[0].os = f"<os><nvram>{file}</nvram></os>"
    domain = parse(
        f"<domain><name>new</name><uuid>new</uuid><os><nvram>{ways(file)['hard']}</nvram></os><devices/></domain>"
    )
    (text,) = Running(running).refuse_start(domain)
    assert text.startswith("nvram would write")


def test_a_domain_that_stands_still_may_have_its_own_disks(file: Path) -> None:
    assert refused(Connection(new=disk(file)), disk(file)) == []


def test_a_disk_is_not_plugged_in_beside_another_on_the_same_file(file: Path) -> None:
    domain = parse(f"<domain><name>new</name><uuid>new</uuid><devices>{disk(file)}</devices></domain>")
    running = Running(Connection(new=disk(file), first=disk(file.parent / "other")))
    symbolic = ways(file)["symbolic"]
    assert list(running.refuse_attach(domain, parse(disk(symbolic)))) == []  # it is that disk
    (text,) = running.refuse_attach(domain, parse(disk(symbolic, target="vdb")))
    assert "vdb and vda are one disk" in text
    (text,) = running.refuse_attach(domain, parse(disk(file.parent / "other", target="vdb")))
    assert "domain first, which runs, writes it" in text
    assert list(running.refuse_attach(domain, parse("<interface type='user'/>"))) == []


def test_of_another_machine_the_paths_are_known(file: Path) -> None:
    far = {"uri": "qemu+ssh://there/system", "first": disk(file)}
    assert len(refused(Connection(**far), disk(file))) == 1
    assert refused(Connection(**far), disk(ways(file)["symbolic"])) == []


def test_a_disk_on_the_network_is_known_by_its_name(file: Path) -> None:
    source = "<source protocol='{}' name='{}'><host name='{}'/></source>"
    iscsi = f"<disk>{source.format('iscsi', 'iqn.2026-01.lab:a/1', 'san')}<target dev='vda'/></disk>"
    elsewhere = f"<disk>{source.format('iscsi', 'iqn.2026-01.lab:a/1', '10.0.0.9')}<target dev='vda'/></disk>"
    other = f"<disk>{source.format('rbd', 'vm/a', 'mon-1')}<target dev='vda'/></disk>"
    assert len(refused(Connection(first=iscsi), elsewhere)) == 1
    assert len(refused(Connection(first=other), other)) == 1
    assert refused(Connection(first=iscsi), other) == []


def test_who_has_a_file_open_is_known_by_the_file(file: Path) -> None:
    running = Running(Connection(first=disk(file, "<readonly/>"), second=disk(file.parent / "other")))
    assert running.users(str(ways(file)["hard"])) == ["first"]
    assert running.users(str(file), writing=True) == []


@pytest.mark.parametrize(
    ("device", "path", "mark"),
    [
        (19, "/srv/nas/a/b.raw", "export 10.0.0.9:/vm/a/b.raw"),
        (19, "/srv/with space/b.raw", "export 10.0.0.9:/vm/deep/b.raw"),
        (20, "/srv/by-address/a/b.raw", "export 10.0.0.9:/vm/a/b.raw"),
        (21, "/srv/six/b.raw", "export fd00::9:/vm/b.raw"),
        (22, "/srv/share/b.raw", "export 10.0.0.9:/vm/b.raw"),
    ],
)
def test_a_file_on_a_server_is_one_by_whatever_mount(tmp_path: Path, device: int, path: str, mark: str) -> None:
    (table := tmp_path / "mountinfo").write_text(TABLE)
    found = mounts(table)
    assert [mount.mark(path) for mount in found[os.makedev(0, device)] if mount.has(path)] == [mark]
    assert os.makedev(8, 1) not in found


def test_paths_that_lead_to_one_file(file: Path) -> None:
    assert all(is_one(str(file), str(path)) for path in ways(file).values())
    assert is_one("pool/a", "pool/a")
    assert not is_one(str(file), str(file.parent / "other"))
    assert not is_one(str(file), "pool/a")


def test_devices_stand_on_others(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition on its disk, a mapped device on its slaves, a loop device on its file."""
    monkeypatch.setattr(file_marks, "DEVICES", tmp_path / "dev")
    for name, number in {"sda": "8:0", "sda/sda1": "8:1", "dm-0": "253:0", "loop0": "7:0"}.items():
        (folder := tmp_path / name).mkdir()
        (folder / "dev").write_text(f"{number}\n")
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / number).symlink_to(folder)
    (tmp_path / "sda/device").mkdir()
    (tmp_path / "sda/device/wwid").write_text("naa.6001405aa\n")
    (tmp_path / "sda/sda1/partition").write_text("1\n")
    (tmp_path / "dm-0/slaves").mkdir()
    (tmp_path / "dm-0/slaves/sda1").symlink_to(tmp_path / "sda/sda1")
    (tmp_path / "loop0/loop").mkdir()
    (tmp_path / "loop0/loop/backing_file").write_text(f"{file}\n")
    numbers = {"/dev/sda": (8, 0), "/dev/vg/lv": (253, 0), "/dev/loop0": (7, 0)}
    look = file_marks.look

    def device(path: str) -> os.stat_result | None:
        if path not in numbers:
            return look(path)
        return os.stat_result((0o60660, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": os.makedev(*numbers[path])})

    monkeypatch.setattr(file_marks, "look", device)
    assert marks("/dev/sda", {}) == {"device 8:0", "disk naa.6001405aa"}
    assert stands_on("/dev/vg/lv") == {"device 8:1", "device 8:0", "disk naa.6001405aa"}
    assert stands_on("/dev/loop0") == marks(str(file), {})
    assert len(refused(Connection(first=disk("/dev/vg/lv")), disk("/dev/sda"))) == 1
    assert len(refused(Connection(first=disk(file)), disk("/dev/loop0"))) == 1
    assert refused(Connection(first=disk("/dev/vg/lv")), disk("/dev/loop0")) == []


def test_a_domain_does_not_resume_or_roll_back_beside_another_writer(file: Path) -> None:
    connection = Connection(paused=disk(file), second=disk(ways(file)["symbolic"]))
    paused = connection.listAllDomains(0)[0]
    with pytest.raises(HypervisorError, match=r"resume domain paused: vda would write .* domain second, which runs"):
        refuse_resume(paused, Running(connection))
    captured = parse(paused.XMLDesc())
    with pytest.raises(HypervisorError, match=r"roll back: vda would write .* domain second, which runs"):
        refuse_files(connection, captured, "roll back")
    refuse_files(Connection(paused=disk(file)), captured, "roll back")
