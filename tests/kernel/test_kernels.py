# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels themselves: kernels of their own on one bridge, what they can do to each other, and nothing left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kernels import cloud, ready
from kernels.kinds import KINDS, wanted
from kernels.lab import FOLDERS, Kernels
from kernels.tcg import Emulated
from namespaces import net
from namespaces.errors import LabError
from namespaces.group import TREE, name_of_mine

PROGRAM = Path(__file__).parent / "kernel.py"


def patience() -> float:
    """Seconds, for what takes a few in the fastest kind of kernel."""
    return 60.0 * wanted().SLOWER


def wait_for(what: str, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience()
    while not happened():
        assert time.monotonic() < deadline, f"not within {patience():.0f} s: {what}"
        time.sleep(0.1)


def ctl(kernels: Kernels, *words: str) -> str:
    """The output of a command beside the kernels, on their bridge."""
    return subprocess.run(
        words, preexec_fn=kernels.enter_control, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True
    ).stdout  # fmt: skip


def left_of(name: str) -> list[str]:
    """Everything on the machine that bears the name of a group."""
    found = [str(path) for path in (*net.NETNS.glob(f"dos-kernel-{name}"), *Path("/run").glob(f"dos-kernel-{name}-*"))]
    found += [str(path) for path in FOLDERS.glob(f"{name}*")]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"dos-kernel-{name}-".encode() in path.read_bytes():
                found.append(str(path))
        except OSError:
            continue  # ended meanwhile
    return found


def test_each_kernel_is_one_of_its_own(kernels: Kernels) -> None:
    told = [kernels.sh("cat /proc/sys/kernel/random/boot_id; hostname", on=name).split() for name in ("k1", "k2")]
    assert [name for _, name in told] == ["k1", "k2"]
    boots = {boot for boot, _ in told} | {Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
    assert len(boots) == 3


def test_what_is_written_in_a_kernel_stays_there(kernels: Kernels) -> None:
    mark = f"dos-kernel-test-{os.getpid()}"
    kernels.sh(f"touch /{mark} /var/lib/{mark} {TREE}/{mark}; echo out > /srv/shared/{mark}")
    assert not any(Path(folder, mark).exists() for folder in ("/", "/var/lib", TREE))
    assert (kernels.shared / mark).read_text() == "out\n"
    (kernels.shared / mark).write_text("in\n")
    assert kernels.sh(f"cat /srv/shared/{mark}", on="k2") == "in\n"
    assert kernels.sh("ls -A /root /home /var/lib/libvirt/images | grep -v -e : -e '^$' -e .ssh || true") == ""


def test_a_failed_command_tells_its_words(kernels: Kernels) -> None:
    with pytest.raises(LabError, match="cat: /no/such/file"):
        kernels.run("cat", "/no/such/file")
    assert kernels.run("sh", "-c", "exit 7", check=False).returncode == 7


def test_an_ipvs_service_answers_from_two_kernels(kernels: Kernels) -> None:
    """Direct routing: k1 takes what comes to the address and gives half of it to k2, which answers for itself."""
    address = f"10.79.{kernels.index}.100"
    serve = "cd /tmp; mkdir -p www; hostname > www/who; python3 -m http.server -d www 80 >/dev/null 2>&1 </dev/null & echo $!"
    pids = {name: kernels.sh(serve, on=name).strip() for name in ("k1", "k2")}
    places = {each.name: each.address for each in kernels.kernels()}
    try:
        for place in places.values():
            wait_for(
                "both serve", lambda place=place: "Directory" in (_get(kernels, f"http://{place}/") or "")
            )  # fmt: skip
        kernels.sh("sysctl -q net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2", on="k2")
        kernels.sh(f"ip addr add {address}/32 dev lo", on="k2")
        kernels.sh(f"ip addr add {address}/32 dev eth0; ipvsadm -A -t {address}:80 -s rr")
        for place in places.values():
            kernels.sh(f"ipvsadm -a -t {address}:80 -r {place} -g")
        answers = [_get(kernels, f"http://{address}/who") for _ in range(6)]
        assert sorted(answer or "none" for answer in answers) == ["k1\n"] * 3 + ["k2\n"] * 3
        assert "Route" in kernels.sh("ipvsadm -Ln")
    finally:
        kernels.sh(f"ipvsadm -C; ip addr del {address}/32 dev eth0; kill {pids['k1']}")
        kernels.sh(f"ip addr del {address}/32 dev lo; kill {pids['k2']}", on="k2")


def _get(kernels: Kernels, url: str) -> str | None:
    try:
        return ctl(kernels, "curl", "-sf", "-m", "10", url)
    except subprocess.CalledProcessError:
        return None


def test_a_watchdog_that_nobody_pets_ends_its_kernel_and_no_other(kernels: Kernels) -> None:
    held = "modprobe softdog soft_margin=2; exec 3>/dev/$(ls /sys/class/watchdog); echo . >&3; sleep 600"
    command = kernels.command("k2", "sh", "-euc", held)
    with subprocess.Popen(
        command, preexec_fn=kernels.enter_control, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as petter:  # fmt: skip
        try:
            wait_for("k2 has ended", lambda: kernels.kernel("k2").pid() is None)
        finally:
            petter.kill()
    assert "Initiating system reboot" in kernels.kernel("k2").console.read_text(errors="replace")
    assert kernels.run("true").returncode == 0
    kernels.boot("k2")
    assert kernels.sh("ls /sys/class/watchdog || true", on="k2") == ""


def test_groups_stand_side_by_side_and_leave_nothing(kernels: Kernels, other_kernels: Kernels) -> None:
    assert other_kernels.sh("hostname") == kernels.sh("hostname") == "k1\n"
    disk = f"/dev/{kernels.kind.DISKS[0]}"
    other_kernels.sh(f"pvcreate -qq {disk}")
    assert kernels.sh(f"blkid {disk} || true") == ""
    other_kernels.down()
    assert left_of(other_kernels.name) == []


def test_a_command_can_have_a_kernel_of_its_own(tmp_path: Path) -> None:
    name = name_of_mine("u")
    command = [sys.executable, str(PROGRAM), "--name", name, "run", "sh", "-c", "uname -n; exit 3"]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=2 * patience(), check=False
    )
    assert (done.returncode, done.stdout) == (3, "k1\n")
    assert left_of(name) == []


def test_nothing_is_left_of_what_was_interrupted_or_could_not_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    name = name_of_mine("u")
    command = [sys.executable, str(PROGRAM), "--name", name, "up", "-n", "2"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as booting:
        wait_for("its first kernel starts", (FOLDERS / name / "k1" / "pid").exists)
        booting.send_signal(signal.SIGTERM)
    assert left_of(name) == []
    monkeypatch.setattr("kernels.kernel.INIT", Path("/nonexistent"))
    with pytest.raises(LabError, match="k1 ended while it booted"):
        Kernels(name).up(1)
    assert left_of(name) == []


def test_a_cloud_kernel_boots_in_an_emulated_machine() -> None:
    """What LAB=tcg is for: several processors, virtio disks and PCI, all of nftables; the machine's files and the bridge as ever."""
    reasons = ready.missing(Emulated)
    if reasons:
        pytest.skip("; ".join(reasons))
    emulated = Kernels(name_of_mine("v"), Emulated)
    try:
        emulated.up(1)
        emulated.sh("modprobe -a ip_vs openvswitch; test -b /dev/vda; test -b /dev/vdb; test -e /sys/bus/pci")
        emulated.sh(
            "nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'; ipvsadm -Ln"
        )
        assert emulated.sh("nproc; echo out > /srv/shared/word").split() == ["2"]
        assert "cloud" in emulated.sh("uname -r")
        assert (emulated.shared / "word").read_text() == "out\n"
    finally:
        emulated.down()
    assert left_of(emulated.name) == []


def test_a_kernel_that_apt_cannot_get_is_a_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched() -> None:
        raise cloud.guest_image.BuildError("apt knows no linux-image-cloud-amd64: run `apt-get update`")

    monkeypatch.setattr(cloud, "ensure", cloud.ensure.__wrapped__)  # not what is known from before
    monkeypatch.setattr(cloud, "_fetched", fetched)
    (reason,) = KINDS["tcg"].missing()
    assert "run `apt-get update`" in reason


def test_a_group_is_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Kernels(name_of_mine("w"))
    group.folder.mkdir(parents=True)
    try:
        (group.folder / "kind").write_text("uml")
        monkeypatch.setenv("LAB", "tcg")
        assert group.kind is KINDS["uml"]
        with pytest.raises(LabError, match="of another kind"):
            group.up(1)
    finally:
        group.down()
    assert left_of(group.name) == []
