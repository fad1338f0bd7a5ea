# SPDX-License-Identifier: GPL-3.0-or-later
"""From an ordinary process to PID 1 of a host: run as a program by host.py, with a JSON document as its only argument.

    {"name", "group", "netns", "upper", "work", "root", "shared", "notify", "console"}      all but the first two are paths

It enters the host's cgroups and network, makes the other namespaces, prints the pid of the child that is PID 1 there, and
ends. The child builds the root file system and becomes systemd. Every mount is made in the host's own mount namespace, so
nothing of it is ever seen on the machine, and all of it goes with the last process of the host.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import cgroups
import kernel

SYSTEMD = "/lib/systemd/systemd"
#: What a service may see of the environment of whoever brought the lab up: nothing, least of all proxies (LVD-09).
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    # systemd then leaves alone what belongs to the kernel, and tells the socket when everything has been started.
    "container": "dos-lab",
    "NOTIFY_SOCKET": "/run/lab/notify",
}

#: Character devices of /dev: major, minor, mode. There is no /dev/kvm, which hangs on some machines that have it, and no
#: /dev/kmsg, through which every host's journal would tell the machine's story.
DEVICES = {
    "null": (1, 3, 0o666),
    "zero": (1, 5, 0o666),
    "full": (1, 7, 0o666),
    "random": (1, 8, 0o666),
    "urandom": (1, 9, 0o666),
    "tty": (5, 0, 0o666),
    "fuse": (10, 229, 0o666),
    "net/tun": (10, 200, 0o666),
    "loop-control": (10, 237, 0o600),
}
LOOPS = 8
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}


def main() -> None:
    host = json.loads(sys.argv[1])
    os.setsid()  # a Ctrl-C meant for the lab's commands must not end its hosts
    cgroups.join(host["group"])
    kernel.enter(host["netns"])
    kernel.unshare(
        kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWCGROUP | kernel.CLONE_NEWPID
    )
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        return
    _console(host["console"])
    _become(host)


def _console(path: str) -> None:
    """Our own last words go to a file, and whoever waits for the end of our output does not wait for systemd."""
    nothing = os.open("/dev/null", os.O_RDONLY)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def _become(host: dict[str, str]) -> None:
    kernel.sethostname(host["name"])
    kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    root = host["root"]
    layers = f"lowerdir=/,upperdir={host['upper']},workdir={host['work']}"
    kernel.mount("overlay", root, "overlay", data=layers)
    _kernel_files(root)
    _devices(f"{root}/dev")
    _scratch(root, host)
    _cgroups(f"{root}/sys/fs/cgroup")
    _pivot(root)
    os.execve(SYSTEMD, [SYSTEMD], ENVIRONMENT)


def _kernel_files(root: str) -> None:
    kernel.mount("proc", f"{root}/proc", "proc")
    # Mounted by a process that is in the host's network already, so it shows the host's interfaces.
    kernel.mount("sysfs", f"{root}/sys", "sysfs")


def _devices(dev: str) -> None:
    kernel.mount("tmpfs", dev, "tmpfs", data="mode=755,size=4m")
    for name in ("pts", "shm", "net", "mqueue"):
        os.mkdir(f"{dev}/{name}")
    kernel.mount("devpts", f"{dev}/pts", "devpts", data="newinstance,ptmxmode=0666,mode=620,gid=5")
    kernel.mount("tmpfs", f"{dev}/shm", "tmpfs")
    for name, (major, minor, mode) in DEVICES.items():
        _node(f"{dev}/{name}", stat.S_IFCHR, major, minor, mode)
    for number in range(LOOPS):
        _node(f"{dev}/loop{number}", stat.S_IFBLK, 7, number, 0o660)
    for name, target in LINKS.items():
        os.symlink(target, f"{dev}/{name}")
    Path(dev, "console").touch()


def _node(path: str, kind: int, major: int, minor: int, mode: int) -> None:
    os.mknod(path, kind | mode, os.makedev(major, minor))
    os.chmod(path, mode)  # mknod's mode is subject to the umask


def _scratch(root: str, host: dict[str, str]) -> None:
    kernel.mount("tmpfs", f"{root}/run", "tmpfs", data="mode=755")
    kernel.mount("tmpfs", f"{root}/tmp", "tmpfs", data="mode=1777")
    for name in ("lock", "lab", "lab/shared"):
        os.mkdir(f"{root}/run/{name}")
    kernel.mount(host["shared"], f"{root}/run/lab/shared", flags=kernel.MS_BIND)
    Path(root, "run/lab/notify").touch()
    kernel.mount(host["notify"], f"{root}/run/lab/notify", flags=kernel.MS_BIND)


def _cgroups(folder: str) -> None:
    """Mounted afresh in a cgroup namespace, the roots are the host's own groups: libvirt's names do not collide."""
    if not any(hierarchy.kind == "cgroup" for hierarchy in cgroups.hierarchies()):
        kernel.mount("cgroup2", folder, "cgroup2")
        return
    kernel.mount("tmpfs", folder, "tmpfs", data="mode=755")
    for hierarchy in cgroups.hierarchies():
        own = f"{folder}/{hierarchy.mounted.name}"
        os.mkdir(own)
        kernel.mount(hierarchy.kind, own, hierarchy.kind, data=hierarchy.options or None)


def _pivot(root: str) -> None:
    os.chdir(root)
    kernel.pivot_root(".", ".")
    # The old root is now stacked over the new one; what is detached here is the machine's view, in this namespace only.
    kernel.umount(".", kernel.MNT_DETACH)
    os.chdir("/")


if __name__ == "__main__":
    main()
