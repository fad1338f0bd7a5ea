# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk files and the real qemu-img: what a header says, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from guests import PATIENCE, wait_for

from dosvm.errors import DeclarationError, HypervisorError
from dosvm.image import convert
from dosvm.image.header import Header, objections, read_header
from dosvm.image.job import Job, Report
from dosvm.image.receive import receive
from dosvm.model.image import Convert, DiskName, Rebase
from dosvm.model.types import ByteSize
from dosvm.model.volume import Format

FORMATS = get_args(Format)
MIB = 2**20


def qemu_img(*arguments: str | Path) -> str:
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def silent(step: str, percent: float) -> None:
    """A report that nobody reads."""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk of 8 MiB with something at its beginning, in its middle and at its end."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        for at in (0, 3 * MIB, 8 * MIB - 4096):
            file.seek(at)
            file.write(os.urandom(4096))
    return path


def made(disk: Path, format_: str, *options: str) -> Path:
    """The disk in another format, by qemu-img alone."""
    path = disk.with_name(f"{disk.stem}.{format_}")
    qemu_img("convert", "-f", "raw", "-O", format_, *options, disk, path)
    return path


def content(path: Path, format_: str) -> bytes:
    out = path.with_name(f"{path.name}.content")
    qemu_img("convert", "-f", format_, "-O", "raw", path, out)
    return out.read_bytes()


def asked(source: Path, **more: Any) -> Convert:
    return Convert(source=DiskName(str(source)), **more)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_header_is_read_as_qemu_reads_it(disk: Path, format_: str) -> None:
    header = read_header(str(made(disk, format_) if format_ != "raw" else disk))
    assert header.format == format_
    assert header.capacity is not None
    assert 8 * MIB <= header.capacity < 9 * MIB
    assert list(objections(header, format_)) == []


@pytest.mark.parametrize("format_", ["qcow2", "qcow", "qed", "vmdk"])
def test_a_layer_is_seen_and_refused(disk: Path, format_: str) -> None:
    below = made(disk, format_)
    layer = disk.with_name("layer")
    qemu_img("create", "-q", "-f", format_, "-b", below, "-F", format_, layer)
    header = read_header(str(layer))
    assert header.backing == str(below)
    assert "its backing is not followed" in " ".join(objections(header, format_))


def test_a_file_with_its_data_elsewhere_is_refused(disk: Path, tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on", tmp_path / "a", "8M")
    qemu_img("create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", tmp_path / "b.vmdk", "8M")
    for name in ("a", "b.vmdk"):
        header = read_header(str(tmp_path / name))
        assert "has its data in other files" in " ".join(objections(header, header.format))


def test_what_a_file_is_not_is_said(disk: Path) -> None:
    """IMG-11, LIMIT-16."""
    assert list(objections(read_header(str(made(disk, "qcow2"))), "raw")) == [
        "is qcow2 and declared raw: write format: qcow2, or bring the right file"
    ]
    packed = disk.with_suffix(".gz")
    packed.write_bytes(subprocess.run(["gzip", "-c", disk], capture_output=True, check=True).stdout)
    assert next(objections(read_header(str(packed)), "raw")).startswith("is packed with gzip: unpack it")
    short = disk.with_suffix(".short")
    short.write_bytes(b"QFI\xfb\0\0")
    with pytest.raises(DeclarationError, match="ends in the middle"):
        read_header(str(short))


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("of", ["raw", "qcow2", "vmdk", "vpc", "vdi"])
def test_every_format_becomes_every_other_and_holds_the_same(disk: Path, of: str, to: Format) -> None:
    """CONV-01, CONV-02."""
    source = disk if of == "raw" else made(disk, of)
    destination = disk.with_name("result")
    before = source.read_bytes()
    convert.convert(asked(source, format=to), str(source), str(destination), silent)
    assert content(destination, to)[: 8 * MIB] == disk.read_bytes()
    assert source.read_bytes() == before
    assert sorted(path.name for path in disk.parent.iterdir() if "draft" in path.name) == []


def test_a_disk_is_replaced_by_a_smaller_one_and_kept_where_asked(disk: Path) -> None:
    """CONV-03."""
    disk.write_bytes(b"the same again, " * (8 * MIB // 16))
    source = made(disk, "qcow2")
    os.chmod(source, 0o640)
    told = convert.convert(asked(source, compress=True, keep=True), str(source), str(source), silent)
    assert told["after"] < told["before"] / 10
    assert content(source, "qcow2") == disk.read_bytes()
    assert source.stat().st_mode & 0o777 == 0o640
    assert content(source.with_name("disk.qcow2.original"), "qcow2") == disk.read_bytes()


def test_a_result_that_is_not_the_same_never_takes_the_place(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONV-07."""
    source = made(disk, "qcow2")
    before = source.read_bytes()
    run = convert.run

    def spoilt(step: str, command: Any, report: Report, environment: Mapping[str, str] | None = None) -> None:
        run(step, command, report, environment)
        if step == "convert":
            qemu_img("bench", "-w", "-c", "1", "-f", "qcow2", command[-1])  # writes where something was

    monkeypatch.setattr(convert, "run", spoilt)
    with pytest.raises(HypervisorError, match="compare: Content mismatch"):
        convert.convert(asked(source), str(source), str(source), silent)
    assert source.read_bytes() == before
    assert not list(disk.parent.glob("*draft*"))


def test_a_layer_and_its_base_become_one(disk: Path) -> None:
    """CONV-05."""
    base, layer, whole = made(disk, "qcow2"), disk.with_name("layer"), disk.with_name("whole")
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", layer)
    qemu_img("bench", "-w", "-c", "1", "-o", str(MIB), "--pattern=7", "-f", "qcow2", layer)
    with pytest.raises(DeclarationError, match="its backing is not followed"):
        convert.convert(asked(layer), str(layer), str(whole), silent)
    convert.convert(asked(layer, flatten=True), str(layer), str(whole), silent)
    assert read_header(str(whole)).backing is None
    assert content(whole, "qcow2") == content(layer, "qcow2") != disk.read_bytes()


@pytest.mark.parametrize(
    "name", ["../../etc/shadow", 'json:{"driver":"file","filename":"/etc/shadow"}', "nbd://10.0.0.1/x"]
)
def test_a_backing_that_is_no_plain_file_is_never_followed(tmp_path: Path, name: str) -> None:
    layer = tmp_path / "layer"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw", layer, "8M")
    with pytest.raises(DeclarationError, match="is not followed"):
        convert.chain(str(layer), "qcow2", flatten=True)


def test_a_layer_moves_onto_another_base_and_holds_the_same(disk: Path) -> None:
    old, layer = made(disk, "qcow2"), disk.with_name("layer")
    qemu_img("create", "-q", "-f", "qcow2", "-b", old, "-F", "qcow2", layer)
    before = content(layer, "qcow2")
    new = disk.with_name("new.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", new, "8M")
    convert.rebase(Rebase(disk=DiskName(str(layer)), base=DiskName(str(new))), str(layer), str(new), silent)
    assert read_header(str(layer)).backing == str(new)
    assert content(layer, "qcow2") == before


def test_a_disk_grows_on_the_way_and_never_shrinks(disk: Path) -> None:
    to = disk.with_name("larger")
    convert.convert(asked(disk, format="qcow2", capacity=ByteSize("16 MiB")), str(disk), str(to), silent)
    assert read_header(str(to)).capacity == 16 * MIB
    with pytest.raises(HypervisorError, match=r"cannot shrink to 4 MiB \(LIMIT-10\)"):
        convert.convert(asked(disk, capacity=ByteSize("4 MiB")), str(disk), str(disk.with_name("smaller")), silent)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "dosvm-test", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def test_what_will_not_fit_is_not_begun(disk: Path, small: Path) -> None:
    with pytest.raises(HypervisorError, match="make room, or write it elsewhere"):
        convert.convert(asked(disk, format="raw"), str(disk), str(small / "result"), silent)
    assert list(small.iterdir()) == []


def test_a_file_system_that_fills_up_half_way_leaves_nothing_behind(
    disk: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.write_bytes(os.urandom(16 * MIB))
    monkeypatch.setattr(convert, "enough", lambda *how: None)  # somebody else writes there after we looked
    with pytest.raises(HypervisorError, match="No space left on device"):
        convert.convert(asked(disk, format="qcow2"), str(disk), str(small / "result"), silent)
    assert list(small.iterdir()) == []


def _slowly(path: Path) -> Any:
    def work(report: Report) -> dict[str, Any]:
        report("wait", 42)
        with path.open("r") as fifo:  # until somebody writes
            return {"said": fifo.read()}

    return work


def test_a_job_outlives_who_began_it_and_is_found_again(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    what = {"what": str(tmp_path)}
    first = Job(what, tmp_path).advance(_slowly(fifo), 0)
    assert first["state"] == "running"

    def told() -> tuple[str, str | None, float | None, int]:
        again = Job(what, tmp_path).advance(_slowly(fifo), 0.2)
        return again["state"], again.get("step"), again.get("percent"), again["pid"]

    wait_for("its first word", lambda: told() == ("running", "wait", 42, first["pid"]))
    fifo.write_text("now")
    done = Job(what, tmp_path).advance(_slowly(fifo), PATIENCE)
    assert (done["state"], done["said"]) == ("done", "now")


def test_a_job_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    job = Job({"what": str(tmp_path)}, tmp_path)
    pid = job.advance(_slowly(fifo), 0)["pid"]
    os.kill(pid, signal.SIGKILL)
    while job._alive():
        time.sleep(0.01)
    assert job.advance(_slowly(fifo), 0)["pid"] != pid
    fifo.write_text("now")
    assert job.advance(_slowly(fifo), PATIENCE)["said"] == "now"


def test_what_a_job_raises_reaches_who_asks(tmp_path: Path) -> None:
    def broken(report: Report) -> dict[str, Any]:
        report("convert", 10)
        raise HypervisorError("convert", "No space left on device")

    with pytest.raises(HypervisorError, match="convert: No space left on device"):
        Job({"what": str(tmp_path)}, tmp_path).advance(broken, PATIENCE)


def test_no_beginning_of_a_file_confuses_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for magic in (b"QFI\xfb", b"QED\0", b"KDMV", b"conectix", b"# Disk DescriptorFile"):
        for seed in range(200):
            path.write_bytes(magic + os.urandom(seed * 7) + b"\xff" * 64)
            with suppress(DeclarationError):  # any other error is a defect
                assert isinstance(read_header(str(path)), Header)


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Path]:
    """A file system whose files can share their blocks."""
    disk, folder = tmp_path / "btrfs.img", tmp_path / "btrfs"
    with disk.open("wb") as file:
        file.truncate(300 * MIB)
    folder.mkdir()
    subprocess.run(["mkfs.btrfs", "-q", disk], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", disk, folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_copy_on_one_file_system_shares_its_blocks(sharing: Path) -> None:
    source, part = sharing / "source", sharing / "part"
    source.write_bytes(os.urandom(8 * MIB + 5))
    told = receive(str(source), str(part), silent)
    assert told["shared"]
    assert told["digest"] == f"sha256:{hashlib.sha256(part.read_bytes()).hexdigest()}"


def test_a_copy_to_another_file_system_is_the_same_with_its_holes(sharing: Path, tmp_path: Path) -> None:
    source, part = sharing / "source", tmp_path / "part"
    with source.open("wb") as file:
        for at in (3 * MIB + 5, 40 * MIB):
            file.seek(at)
            file.write(os.urandom(2 * MIB + 7))
        file.truncate(100 * MIB + 1)
    told = receive(str(source), str(part), silent)
    assert not told["shared"]
    assert told["digest"] == f"sha256:{hashlib.sha256(part.read_bytes()).hexdigest()}"
    assert part.read_bytes() == source.read_bytes()
    assert part.stat().st_blocks * 512 < 8 * MIB


def test_a_source_that_is_written_meanwhile_is_told_of(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(130 * MIB))

    def grow(step: str, percent: float) -> None:
        with source.open("ab") as file:
            file.write(b"more")

    with pytest.raises(HypervisorError, match="was changed meanwhile: run again when it is whole"):
        receive(str(source), str(tmp_path / "part"), grow)
