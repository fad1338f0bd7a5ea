#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""PID 1 of a kernel of the lab: from the machine's own root, read-only, to a root of its own; then sshd, and reaping.

Its only argument is the file that the kernel's command line names as `dos.kernel=`: a JSON document

    {"name", "lab", "address", "controller", "names", "key", "host_key", "tree", "ready", "disks", "slower",
     "modules", "cable", "legacy_iptables", "shared": {"source", "kind", "data"}}

The second line is what the kind of kernel says of itself (uml.py, tcg.py). All of it stays in /run for whoever asks.

What is on the disk is prepared as for a host in namespaces (tests/lab/namespaces/disk.py), only that the layer above is
memory. The tree is seen and may be written to, but the machine's does not change. What a test wants to keep goes to /srv/shared.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
from namespaces import disk, kernel

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"}
#: What is there before a root of our own is: an empty folder of the machine, under which everything is built.
PLACE = Path("/mnt")
#: Where all of the above is written, for tests that run here.
TOLD = Path("/run/dos-kernel.json")
#: The rest comes when it is asked for. `tun` does not: the device's node is what would ask, and udev does not make it.
LOADED = ("tun", "loop", "veth", "bridge", "dm_mod")
#: For a kernel whose nf_tables cannot be what iptables stands on.
LEGACY_LOADED = ("ip_tables", "iptable_filter", "iptable_nat", "iptable_mangle")
LEGACY = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")


def main() -> None:
    kernel.mount("proc", "/proc", "proc")  # the one that can be seen belongs to the machine's kernel
    words = dict(word.partition("=")[::2] for word in Path("/proc/cmdline").read_text().split())
    told = json.loads(Path(words["dos.kernel"]).read_text())
    root = _layers(told)
    _kernel_files(root, _modules(told))
    _tree(root, Path(told["tree"]))
    _pivot(root, told)
    _network(told)
    TOLD.write_text(json.dumps(told))
    _daemons(told)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tell:
        tell.sendto(told["name"].encode(), (told["controller"], told["ready"]))
    while True:
        os.wait()  # whose parent ended is ours; sshd and udevd are, so there is always somebody to wait for


def call(*words: str) -> None:
    subprocess.run(words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=True)


def _layers(told: dict[str, object]) -> Path:
    """The machine's root file system with a layer of memory above it, in which nothing makes this one the machine."""
    kernel.mount("tmpfs", str(PLACE), "tmpfs", data="size=80%,mode=755")
    upper, work, root = (PLACE / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir(mode=0o755)
    public = Path(f"{told['key']}.pub").read_text()
    names, tree = dict(told["names"]), Path(str(told["tree"]))
    disk.prepare(upper, lab=str(told["lab"]), host=str(told["name"]), names=names, public_key=public, tree=tree)
    _secure_shell(upper / "etc" / "ssh", Path(str(told["host_key"])))
    if told["legacy_iptables"]:
        _legacy_iptables(upper / "etc" / "alternatives")
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        call("insmod", str(_modules(told) / "kernel/fs/overlayfs/overlay.ko"))
    kernel.mount("overlay", str(root), "overlay", data=f"lowerdir=/,upperdir={upper},workdir={work},xino=off")
    return root


def _modules(told: dict[str, object]) -> Path:
    return Path(str(told["modules"])) / os.uname().release


def _legacy_iptables(alternatives: Path) -> None:
    alternatives.mkdir(exist_ok=True)
    for name in LEGACY:
        command, _, action = name.partition("-")
        (alternatives / name).symlink_to(f"/usr/sbin/{command}-legacy{'-' if action else ''}{action}")


def _secure_shell(etc: Path, host_key: Path) -> None:
    for source in (host_key, host_key.with_suffix(".pub")):
        shutil.copy(source, etc / f"ssh_host_ed25519_key{source.suffix}")
    (etc / "ssh_host_ed25519_key").chmod(0o600)


def _kernel_files(root: Path, modules: Path) -> None:
    place = root / "lib" / "modules" / modules.name
    place.mkdir(parents=True, exist_ok=True)
    kernel.mount(str(modules), str(place), flags=kernel.MS_BIND)
    for kind, place, data in (
        ("proc", "proc", None), ("sysfs", "sys", None), ("devtmpfs", "dev", None), ("tmpfs", "run", "mode=755"),
        ("tmpfs", "tmp", "mode=1777"), ("cgroup2", "sys/fs/cgroup", None),
    ):  # fmt: skip
        kernel.mount(kind, str(root / place), kind, data=data)
    for name in ("pts", "shm"):
        (root / "dev" / name).mkdir(exist_ok=True)
    kernel.mount("devpts", str(root / "dev/pts"), "devpts", data="ptmxmode=0666,mode=620,gid=5")
    kernel.mount("tmpfs", str(root / "dev/shm"), "tmpfs")
    for name, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        with contextlib.suppress(FileExistsError):
            (root / "dev" / name).symlink_to(target)
    for name in ("lock", "sshd", "dbus"):
        (root / "run" / name).mkdir()


def _tree(root: Path, tree: Path) -> None:
    """The tree where it is on the machine, even under a folder that was hidden, with a layer of its own."""
    upper, work = (PLACE / name for name in ("tree-upper", "tree-work"))
    for folder in (upper, work):
        folder.mkdir(mode=0o755)
    place = root / str(tree).lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    kernel.mount("overlay", str(place), "overlay", data=f"lowerdir={tree},upperdir={upper},workdir={work},xino=off")


def _pivot(root: Path, told: dict[str, object]) -> None:
    shared: dict[str, str] = told["shared"]
    kernel.mount(shared["source"], str(root / "srv/shared"), shared["kind"], data=shared["data"])
    os.chdir(root)
    kernel.pivot_root(".", ".")
    kernel.umount(".", kernel.MNT_DETACH)
    os.chdir("/")
    kernel.sethostname(str(told["name"]))


def _network(told: dict[str, object]) -> None:
    call("ip", "link", "set", "lo", "up")
    if told["cable"] != "eth0":
        call("ip", "link", "set", str(told["cable"]), "name", "eth0")
    call("ip", "addr", "add", f"{told['address']}/24", "dev", "eth0")
    call("ip", "link", "set", "eth0", "up")


def _daemons(told: dict[str, object]) -> None:
    call("/lib/systemd/systemd-udevd", "--daemon")
    call("modprobe", "--all", "--quiet", *LOADED, *(LEGACY_LOADED if told["legacy_iptables"] else ()))
    call("udevadm", "trigger", "--type=all", "--action=add")
    call("dbus-daemon", "--system", "--fork")
    call("/usr/sbin/sshd")
    # It listens a moment after it has gone to the background.
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", 22)):
            return
        time.sleep(0.02)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise  # the kernel ends with its PID 1, and whoever waits for it reads the console
