# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a host's disk before its first boot: the upper layer over the machine's own root file system.

Programs and libraries are the machine's, so every package must be there before a lab comes up. Everything that makes a
machine an individual is hidden or replaced: names, keys, state of daemons, enabled services, users' files, and the tree we
work in, since a managed host that sees its controller's files proves nothing.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

#: Folders of the machine that a host begins with empty. In `var/log` and `var/lib/libvirt` daemons make what they need.
#: All that is written to on the machine while a lab is up must be here: a folder that is seen through the layers and goes on
#: the machine is an empty one in the host, whatever the host has put there.
EMPTY = (
    "root", "home", "srv", "opt", "mnt", "media", "var/tmp", "var/log", "var/spool", "var/cache/libvirt", "var/lib/libvirt",
    "var/lib/dos-vm", "var/lib/swtpm-localca", "var/lib/systemd", "var/lib/machines",
    "etc/dos-vm", "etc/ssh", "etc/systemd/system", "etc/netns", "etc/cron.d",
    "etc/libvirt/hooks", "etc/libvirt/nwfilter", "etc/libvirt/qemu", "etc/libvirt/secrets", "etc/libvirt/storage",
)  # fmt: skip
#: What packages put there, from where it can be had untouched.
COPIED = {"etc/libvirt/nwfilter": "/usr/share/libvirt/nwfilter"}
FOLDERS = (
    "srv/shared", "srv/private", "var/lib/libvirt/images", "var/lib/libvirt/boot", "var/lib/libvirt/dnsmasq",
    "var/log/libvirt/qemu", "var/log/journal", "etc/libvirt/qemu/networks/autostart", "etc/libvirt/qemu/autostart", "etc/ssh/sshd_config.d",
)  # fmt: skip

UNITS = Path("/lib/systemd/system")
ENABLED = {
    "multi-user.target.wants": ("ssh.service", "libvirtd.service"),
    "sockets.target.wants": (
        "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket", "virtlogd.socket", "virtlogd-admin.socket",
        "virtlockd.socket", "virtlockd-admin.socket",
    ),
}  # fmt: skip
#: Wanted by systemd itself, and not for a host that shares kernel and devices with others: whoever loads modules, sets the
#: kernel's variables or triggers devices here does it to the whole machine.
MASKED = (
    "getty.target", "console-getty.service", "systemd-udevd.service", "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket", "systemd-udev-trigger.service", "systemd-modules-load.service",
    "systemd-sysctl.service", "systemd-remount-fs.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount",
    "kmod-static-nodes.service", "systemd-firstboot.service", "systemd-machine-id-commit.service",
    "systemd-hwdb-update.service", "systemd-pstore.service", "systemd-random-seed.service", "dev-hugepages.mount",
    "networking.service", "systemd-timesyncd.service", "wdmd.service",
)  # fmt: skip

DEVNODES = "usr/local/lib/lab/devnodes.py"
DEVNODES_UNIT = f"""[Unit]
Description=Device nodes that the kernel makes at run time
[Service]
ExecStart=/usr/bin/python3 /{DEVNODES}
[Install]
WantedBy=multi-user.target
"""
#: The stand-in for a cluster file system. A bind mount would be faster, but nobody can cut it; this is a process, which can
#: be stopped, and then the file system hangs as a network's does. Locks are forwarded, or two hosts would not see each
#: other's. It is called glusterfs because libvirt migrates a disk without copying only where it knows the file system's name.
SHARED_UNIT = """[Unit]
Description=The lab's shared directory
Before=libvirtd.service
[Service]
Type=forking
ExecStart=/usr/bin/bindfs --multithreaded --enable-lock-forwarding -o subtype=glusterfs,fsname=lab:shared /run/lab/shared /srv/shared
[Install]
WantedBy=multi-user.target
"""
#: A file that is closed without being unlocked stays locked for the host that had it: the kernel drops no open file
#: description's locks when FUSE tells it to, and libfuse remembers them. QEMU closes so whenever a guest ends, and could then
#: not have the disk again here. Remounting makes the kernel forget what nobody has open, and libfuse with it.
FORGET = """#!/bin/sh
[ "$2" = release ] && timeout --signal=KILL 2 mount --internal-only -o remount /srv/shared
exit 0
"""
OWN_UNITS = {"lab-devnodes.service": DEVNODES_UNIT, "lab-shared.service": SHARED_UNIT}

#: PAM would want limits raised, which a container must not do, and root may not log in with a password anyway.
SSHD = "UsePAM no\nUseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 100\n"


def identity(lab: str, host: str) -> str:
    """32 hex digits, the same whenever a host of this name is made: its machine ID."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{host}.{lab}.lab.invalid").hex


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def prepare(
    upper: Path, *, lab: str, host: str, names: Mapping[str, str], public_key: str, tree: Path,
    files: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Fills an empty upper layer.

    `names` are all addresses by host name, `tree` is a folder to hide as well, `files` are further texts by path.
    """
    for folder in (*EMPTY, str(tree).lstrip("/")):
        hide(upper, folder)
    for folder in FOLDERS:
        (upper / folder).mkdir(parents=True, exist_ok=True)
    for folder, source in COPIED.items():
        shutil.copytree(source, upper / folder, dirs_exist_ok=True)
    _identify(upper, lab, host, names)
    _secure_shell(upper, public_key)
    _units(upper)
    write(upper / "etc" / "libvirt" / "hooks" / "qemu", FORGET, 0o755)
    write(upper / DEVNODES, (Path(__file__).parent / "devnodes.py").read_text())
    for path, text in (files or {}).items():
        write(upper / path, text)


def hide(upper: Path, folder: str) -> None:
    """An opaque folder: what the machine has there is not seen. Owner and mode stay, of its parents as well."""
    below = Path("/")
    for part in folder.split("/"):
        below /= part
        own = upper / str(below).lstrip("/")
        if not own.is_dir():
            own.mkdir()
            if below.is_dir():
                held = below.stat()
                os.chown(own, held.st_uid, held.st_gid)
                own.chmod(held.st_mode & 0o7777)
    os.setxattr(upper / folder, "trusted.overlay.opaque", b"y")


def _identify(upper: Path, lab: str, host: str, names: Mapping[str, str]) -> None:
    etc = upper / "etc"
    lines = [f"{address} {name}" for name, address in names.items()]
    write(etc / "hostname", f"{host}\n")
    write(etc / "hosts", "\n".join(["127.0.0.1 localhost", "::1 localhost", *lines]) + "\n")
    write(etc / "machine-id", f"{identity(lab, host)}\n", 0o444)
    write(etc / "resolv.conf", "# A lab has no way out and no name server.\n")
    # There is no DMI to take the host's UUID from; without one, hosts could take each other for themselves.
    packaged = Path("/etc/libvirt/libvirtd.conf").read_text()
    write(etc / "libvirt" / "libvirtd.conf", f'{packaged}\nhost_uuid_source = "machine-id"\n')


def _secure_shell(upper: Path, public_key: str) -> None:
    ssh = upper / "etc" / "ssh"
    for name in ("ssh_config", "sshd_config", "moduli"):
        if Path("/etc/ssh", name).exists():
            shutil.copy2(Path("/etc/ssh", name), ssh / name)
    write(ssh / "sshd_config.d" / "lab.conf", SSHD)
    write(upper / "root" / ".ssh" / "authorized_keys", public_key, 0o600)
    (upper / "root" / ".ssh").chmod(0o700)


def _units(upper: Path) -> None:
    system = upper / "etc" / "systemd" / "system"
    for name in MASKED:
        (system / name).symlink_to("/dev/null")
    for name, text in OWN_UNITS.items():
        write(system / name, text)
    (system / "default.target").symlink_to(UNITS / "multi-user.target")
    for target, names in ENABLED.items():
        for name in names:
            _enable(system, target, UNITS / name)
    for name in OWN_UNITS:
        _enable(system, "multi-user.target.wants", Path("..") / name)


def _enable(system: Path, target: str, unit: Path) -> None:
    (system / target).mkdir(exist_ok=True)
    (system / target / unit.name).symlink_to(unit)
