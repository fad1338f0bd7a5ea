# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as an operator handles them: sent, cut off, gone on with, refused, converted, sealed. Real Ansible, libvirt, qemu-img."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dosvm.model.types import ByteSize
from tests.real.appliance import environment, system

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE = Path(sys.executable).with_name("ansible")
CONNECTION = Path(__file__).with_name("connection")
MIB = 2**20
PREFIX = "im-test"


class Operator:
    """Somebody with an inventory of this machine, a pool on it, and a folder of files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pool = folder, folder / "pool"
        here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        there = {**here, "ansible_connection": "elsewhere"}
        hosts = {"all": {"children": {"dos_hosts": {"hosts": {"here": here, "there": there}}}}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))

    def call(
        self,
        module: str,
        succeeds: bool = True,
        env: dict[str, str] | None = None,
        host: str = "here",
        **arguments: Any,
    ) -> Any:
        """The answer of a module, and what was shown on the way as `shown`. `there` is this machine as if it were another."""
        settings = {
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_CONNECTION_PLUGINS": str(CONNECTION),
        }
        done = subprocess.run(
            [ANSIBLE, "-i", self.folder / "hosts.yml", host, "-m", f"dos.vm.{module}", "-a", json.dumps(arguments)],
            cwd=ROOT, env={**os.environ, **settings, **(env or {})},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
        head, _, body = done.stdout.partition("=> {")
        return {**json.loads("{" + body), "shown": head + done.stderr}

    def delete_image(self, file: Path, variables: dict[str, Any], succeeds: bool) -> str:
        """What the playbook said."""
        given = json.dumps({**variables, "dos_file": str(file)})
        done = subprocess.run(
            [ANSIBLE.with_name("ansible-playbook"), "-i", self.folder / "hosts.yml", "dos.vm.delete_image", "-e", given],
            cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONNECTION_PLUGINS": str(CONNECTION)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    with tempfile.TemporaryDirectory(prefix="dosvm-images-", dir="/var/lib") as folder:
        Path(folder).chmod(0o755)
        held = Operator(Path(folder))
        (Path(folder) / "images").mkdir()
        held.call("pool", name=PREFIX, path=str(held.pool), site=PREFIX)
        yield held
        subprocess.run(["virsh", "pool-destroy", PREFIX], check=True, capture_output=True)
        subprocess.run(["virsh", "pool-undefine", PREFIX], check=True, capture_output=True)


@pytest.fixture(scope="module")
def image(operator: Operator) -> dict[str, Any]:
    """An image on the controller of three pieces and a bit, and what is declared of it."""
    raw, path = operator.folder / "source.raw", operator.folder / "source.qcow2"
    with raw.open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(MIB))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    raw.unlink()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "file": str(operator.folder / "images" / "base.qcow2"),
        "source": str(path),
        "format": "qcow2",
        "checksum": f"sha256:{digest}",
    }


def test_an_upload_that_is_cut_off_goes_on_where_it_was(operator: Operator, image: dict[str, Any]) -> None:
    """LIMIT-17."""
    # A program of that name before the real one: the third piece never arrives whole.
    folder = operator.folder / "bin"
    folder.mkdir()
    count = folder / "count"
    (folder / "dd").write_text(
        f'#!/bin/sh\necho >> {count}\n[ $(wc -l < {count}) -lt 3 ] && exec /bin/dd "$@"\n'
        f'head -c 5000000 | /bin/dd "$@"\nexit 1\n'
    )
    (folder / "dd").chmod(0o755)
    cut = operator.call("image", succeeds=False, host="there", env={"PATH": f"{folder}:{os.environ['PATH']}"}, **image)
    assert "sending stopped at 67108864 of" in cut["msg"]
    assert not Path(image["file"]).exists()
    done = operator.call("image", host="there", **image)
    assert 67108864 <= done["resumed_at"] <= 67108864 + 5000000
    assert "send source.qcow2 100.0 %" in done["shown"]
    assert Path(image["file"]).read_bytes() == Path(image["source"]).read_bytes()
    assert list(Path(image["file"]).parent.glob(".*")) == []


@pytest.mark.parametrize("host", ["here", "there"])
def test_holes_of_an_image_stay_holes(operator: Operator, host: str) -> None:
    source, file = operator.folder / "holes.raw", operator.folder / "images" / f"holes-{host}.raw"
    with source.open("wb") as written:
        for at in (0, 100 * MIB + 4096):  # data, a hole of three pieces, data that begins and ends between two, a hole
            written.seek(at)
            written.write(os.urandom(3 * MIB + 11))
        written.truncate(160 * MIB + 77)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    asked = {"file": str(file), "source": str(source), "format": "raw", "checksum": f"sha256:{digest}"}
    done = operator.call("image", host=host, **asked)
    assert done.get("copied", False) is (host == "here")
    assert file.read_bytes() == source.read_bytes()
    assert file.stat().st_blocks * 512 < 80 * MIB
    assert not operator.call("image", host=host, **asked)["changed"]


def test_an_image_that_is_there_is_not_sent_again(operator: Operator, image: dict[str, Any]) -> None:
    """IMG-06."""
    assert not operator.call("image", **image)["changed"]
    assert not operator.call("image", file=image["file"], format="qcow2", checksum=image["checksum"])["changed"]


def test_another_content_is_refused_on_both_sides(operator: Operator, image: dict[str, Any]) -> None:
    other = {**image, "checksum": "sha256:" + "0" * 64}
    there = operator.call("image", succeeds=False, **other)
    assert "bring the right file, or delete this one and run again" in there["msg"]
    for host, kept in (("there", "nothing was sent"), ("here", "nothing was kept")):
        sent = operator.call("image", succeeds=False, host=host, **{**other, "file": image["file"] + ".new"})
        assert kept in sent["msg"]
        assert list(Path(image["file"]).parent.glob("*.new*")) == []
    wrong = operator.call("image", succeeds=False, **{**image, "format": "raw"})
    assert "is qcow2 and declared raw" in wrong["msg"]
    missing = operator.call("image", succeeds=False, file="/srv/nowhere.iso", format="raw")
    assert "is not on the host: put it there, or write the source" in missing["msg"]


def test_what_arrives_spoilt_is_thrown_away_and_sent_again(operator: Operator, image: dict[str, Any]) -> None:
    new = {**image, "file": image["file"] + ".spoilt"}
    digest = image["checksum"][7:23]
    part = Path(new["file"]).with_name(f".{Path(new['file']).name}.{digest}.dos-vm-upload")
    part.write_bytes(b"\0" * 40 * MIB)  # somebody else's bytes, or a disk that lost some
    assert "what arrived has sha256:" in operator.call("image", succeeds=False, host="there", **new)["msg"]
    assert not part.exists()
    assert operator.call("image", host="there", **new)["resumed_at"] == 0


def test_an_image_that_is_used_is_not_deleted(operator: Operator, image: dict[str, Any]) -> None:
    """IMG-08, LIMIT-46."""
    backing = {"path": image["file"], "format": "qcow2"}
    operator.call("volume", site=PREFIX, pool=PREFIX, name="layer", backing=backing)
    refused = operator.call("image", succeeds=False, file=image["file"], state="absent")
    assert f"is used by {operator.pool}/layer: take it from them first (IMG-08)" in refused["msg"]
    allow = {"data_loss": [f"volume {PREFIX}/layer"]}
    operator.call("volume", site=PREFIX, pool=PREFIX, name="layer", state="absent", allow=allow)
    spoilt = image["file"] + ".spoilt"
    assert operator.call("image", file=spoilt, state="absent")["changed"]
    assert not operator.call("image", file=spoilt, state="absent")["changed"]


def test_a_snapshot_is_merged_into_a_volume_of_its_own(operator: Operator, image: dict[str, Any]) -> None:
    """VSNP-06."""
    backing = {"path": image["source"], "format": "qcow2"}
    operator.call("volume", site=PREFIX, pool=PREFIX, name="monday", backing=backing)
    merge = {"source": f"{PREFIX}/monday", "destination": f"{PREFIX}/whole", "flatten": True, "seconds": 0}
    done = operator.call("image_convert", **merge)
    assert done["changed"]
    assert " %" in done["shown"]
    assert done["backing"] is None
    listed = subprocess.run(["virsh", "vol-list", PREFIX], capture_output=True, text=True, check=True).stdout
    assert "whole" in listed, "libvirt was not told"
    assert not operator.call("image_convert", **merge)["changed"]
    same = operator.call("volume", site=PREFIX, pool=PREFIX, name="whole", capacity="100 MiB")
    assert not same["changed"]
    for name in ("whole", "monday"):
        allow = {"data_loss": [f"volume {PREFIX}/{name}"]}
        operator.call("volume", site=PREFIX, pool=PREFIX, name=name, state="absent", allow=allow)


def test_a_volume_is_saved_as_an_image_that_can_be_declared(operator: Operator, image: dict[str, Any]) -> None:
    """VOL-12."""
    backing = {"path": image["source"], "format": "qcow2"}
    operator.call("volume", site=PREFIX, pool=PREFIX, name="golden", backing=backing)
    saved = str(operator.folder / "images" / "golden.qcow2")
    done = operator.call("image_convert", source=f"{PREFIX}/golden", destination=saved, flatten=True)
    told = done["image"]
    assert ByteSize(told["size"]) == Path(saved).stat().st_size
    held = {name: told[name] for name in ("file", "format", "checksum")}
    assert not operator.call("image", **held, at_most=told["size"])["changed"]
    refused = operator.call("image", succeeds=False, **held, at_most="64 KiB")
    assert "declare its size, which counts for the quota" in refused["msg"]
    allow = {"data_loss": [f"volume {PREFIX}/golden"]}
    operator.call("volume", site=PREFIX, pool=PREFIX, name="golden", state="absent", allow=allow)


def test_the_file_of_an_image_goes_when_nobody_declares_and_nobody_uses_it(
    operator: Operator, image: dict[str, Any]
) -> None:
    old = operator.folder / "images" / "old.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", old, "1M"], check=True)
    declared = {"dos_site": PREFIX, "dos_images": {"old": {"file": str(old), "format": "qcow2"}}}
    told = operator.delete_image(old, declared, succeeds=False)
    assert "is declared as an image: take it out of dos_images first" in told
    backing = {"path": str(old), "format": "qcow2"}
    operator.call("volume", site=PREFIX, pool=PREFIX, name="above", backing=backing)
    assert "above: take it from them first (IMG-08)" in operator.delete_image(old, {"dos_site": PREFIX}, succeeds=False)
    assert old.exists()
    allow = {"data_loss": [f"volume {PREFIX}/above"]}
    operator.call("volume", site=PREFIX, pool=PREFIX, name="above", state="absent", allow=allow)
    operator.delete_image(old, {"dos_site": PREFIX}, succeeds=True)
    assert not old.exists()


def inside(disk: Path, *commands: str) -> list[str]:
    """What guestfish says of the files in a disk, one line for each command."""
    script = ["run", "mount-ro /dev/sda /", *commands]
    done = subprocess.run(
        ["guestfish", "--ro", "-a", disk], input="\n".join(script), capture_output=True, text=True, timeout=300,
        env={**os.environ, "LIBGUESTFS_BACKEND": "direct", **environment()}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


def test_an_installed_system_is_sealed_into_an_image(operator: Operator) -> None:
    """CONV-11, EDIT-03."""
    disk = system(operator.folder)
    sealed = operator.call(
        "image_edit", env=environment(), disk=str(disk), seal=True, keep=True, hostname="fresh",
        passwords={"root": "pw"}, secrets={"pw": "tops3cret"}, files=[{"path": "/etc/motd", "content": "welcome\n"}],
    )  # fmt: skip
    assert sealed["changed"]
    assert "tops3cret" not in json.dumps(sealed)
    told = inside(
        disk, "exists /etc/ssh/ssh_host_ed25519_key", "exists /etc/udev/rules.d/70-persistent-net.rules",
        "exists /var/lib/cloud/instances", "filesize /etc/machine-id", "cat /etc/hostname", "cat /etc/motd",
        "cat /home/somebody/data", "cat /etc/shadow",
    )  # fmt: skip
    assert told[:4] == ["false", "false", "false", "0"], "what made it itself is there"
    assert told[4:7] == ["fresh", "welcome", "keep me"]
    assert any(line.startswith("root:$") for line in told)
    assert "0123456789abcdef" in inside(Path(f"{disk}.original"), "cat /etc/machine-id")[0]
