#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `qemu:///system` answer: starts virtlogd and libvirtd where nothing else would.

Under systemd that is one `systemctl start`. Where PID 1 is something else (a container, a CI machine) the two daemons
are started here, with pid files of our own, so that `--down` ends these processes and never somebody else's.
Guests and networks are left alone by both: they outlive libvirtd by design.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import grp
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

RUN = Path("/run/dos-vm/libvirt")
SYSTEMD = Path("/run/systemd/system")
KVM = Path("/dev/kvm")
#: libvirtd first asks every QEMU binary what it can do; on a slow machine that is most of its start.
PATIENCE = 60.0  # seconds


class NotUpError(Exception):
    """libvirt does not answer and we could not make it; the text carries the daemon's own words."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A libvirt daemon, and the socket on which it answers once it is ready."""

    name: str
    socket: Path

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self.socket))
            except OSError:
                return False
        return True


# virtlogd keeps the guests' logs and serial files open; QEMU does not start without it. virtlockd is started by nobody:
# Debian's qemu.conf names no lock manager, and a host that wants one is a real host with an init system.
VIRTLOGD = Daemon("virtlogd", Path("/run/libvirt/virtlogd-sock"))
LIBVIRTD = Daemon("libvirtd", Path("/run/libvirt/libvirt-sock"))
DAEMONS = (VIRTLOGD, LIBVIRTD)


def wait_until(happened: Callable[[], bool]) -> bool:
    """Whether it happened within PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def one_at_a_time(run: Path) -> Iterator[None]:
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def call(*command: str) -> None:
    try:
        done = subprocess.run(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise NotUpError(f"{command[0]} is not installed: tools/apt.txt lists its package") from None
    except subprocess.TimeoutExpired:
        raise NotUpError(f"{' '.join(command)}: no end after {PATIENCE:.0f} s") from None
    if done.returncode:
        raise NotUpError(f"{' '.join(command)}: {done.stdout.strip()}")


# Up


def start(daemon: Daemon, run: Path) -> None:
    if os.geteuid() != 0:
        raise NotUpError(f"{daemon.name} does not run and only root can start it")
    if SYSTEMD.is_dir():
        call("systemctl", "start", f"{daemon.name}.socket", f"{daemon.name}.service")
    else:
        # Its log is a file and not our terminal or pipe: whoever waits for our output must not wait for a daemon.
        log = run / f"{daemon.name}.log"
        call(
            "sh",
            "-c",
            'exec "$1" --daemon --pid-file "$2" >"$3" 2>&1',
            "sh",
            daemon.name,
            str(pid_file(daemon, run)),
            str(log),
        )
    if not wait_until(daemon.answers):
        raise NotUpError(f"{daemon.name} was started and does not answer on {daemon.socket}")


def let_qemu_open_kvm() -> list[str]:
    """Gives /dev/kvm to the group that Debian's udev rule gives it to, where no udev runs.

    libvirt throws away what it learnt of QEMU for as long as QEMU may not open the device: 4 to 8 s with every question.
    """
    try:
        group = grp.getgrnam("kvm").gr_gid
        held = KVM.stat()
    except (KeyError, FileNotFoundError):
        return []
    if SYSTEMD.is_dir() or os.geteuid() != 0 or (held.st_gid == group and held.st_mode & 0o060 == 0o060):
        return []
    os.chown(KVM, -1, group)
    KVM.chmod(0o660)
    return [f"{KVM} has been given to the group kvm"]


def up(run: Path) -> list[str]:
    """Starts what does not answer; returns one sentence for each thing that was done, so none when all was well."""
    started = let_qemu_open_kvm()
    if all(daemon.answers() for daemon in DAEMONS):
        return started
    with one_at_a_time(run):
        for daemon in DAEMONS:
            if not daemon.answers():
                begin = time.monotonic()
                start(daemon, run)
                started.append(f"{daemon.name} has been started in {time.monotonic() - begin:.1f} s")
    return started


# Down


def pid_file(daemon: Daemon, run: Path) -> Path:
    return run / f"{daemon.name}.pid"


def our_process(daemon: Daemon, run: Path) -> int | None:
    """The pid of a daemon we started, None when it is gone or its number now belongs to another program."""
    try:
        pid = int(pid_file(daemon, run).read_text())
        comm = Path(f"/proc/{pid}/comm").read_text().strip()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if comm == daemon.name and os.fsencode(pid_file(daemon, run)) in arguments else None


def _has_ended(daemon: Daemon, run: Path) -> bool:
    return our_process(daemon, run) is None


def down(run: Path) -> list[str]:
    """Ends the daemons that `up` started without an init system, and no other process."""
    if not run.is_dir():
        return []
    ended = []
    with one_at_a_time(run):
        for daemon in reversed(DAEMONS):
            pid = our_process(daemon, run)
            if pid is not None:
                os.kill(pid, signal.SIGTERM)
                if not wait_until(partial(_has_ended, daemon, run)):
                    raise NotUpError(f"{daemon.name} (pid {pid}) got SIGTERM and still runs")
                ended.append(f"{daemon.name} has been stopped")
            pid_file(daemon, run).unlink(missing_ok=True)
    return ended


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make qemu:///system answer, with or without an init system.")
    parser.add_argument("--down", action="store_true", help="end the daemons that this program started itself")
    parser.add_argument("--run", type=Path, default=RUN, metavar="DIR", help=f"pid files and logs (default {RUN})")
    options = parser.parse_args(arguments)
    try:
        sentences = down(options.run) if options.down else up(options.run)
    except NotUpError as error:
        print(f"libvirt: {error}", file=sys.stderr)
        return 1
    nothing = "nothing of ours runs" if options.down else "libvirtd and virtlogd answer"
    for sentence in sentences or [nothing]:
        print(f"libvirt: {sentence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
