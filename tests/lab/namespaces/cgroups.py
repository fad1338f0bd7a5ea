# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's cgroup hierarchies (version 1, or version 1 beside 2), and a host's group in each of them.

A host's groups are what tells its processes from all others, so they are also how leftovers are found and ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: All labs' groups are below this one.
TOP = "dos-lab"
WAIT = 10.0  # seconds until the kernel has done what a control file was told
NOISE = {"rw", "relatime", "nosuid", "nodev", "noexec", "clone_children"}


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy. `options` are what mounts it again: its controllers, or its name."""

    mounted: Path
    kind: str
    options: str

    def group(self, path: str) -> Path:
        return self.mounted / TOP / path


@cache
def hierarchies() -> tuple[Hierarchy, ...]:
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            own = [word for word in options.split(",") if word not in NOISE] if kind == "cgroup" else []
            # A named hierarchy has no controllers, and the kernel wants to be told so.
            none = ["none"] if any(word.startswith("name=") for word in own) else []
            found.append(Hierarchy(Path(mounted), kind, ",".join(none + own)))
    return tuple(found)


def control(controller: str, path: str, file: str) -> Path:
    """A control file of a group; raises LookupError when the machine has no such controller in a version 1 hierarchy."""
    for hierarchy in hierarchies():
        if controller in hierarchy.options.split(","):
            return hierarchy.group(path) / file
    raise LookupError(f"no cgroup version 1 hierarchy with the controller {controller}")


def create(path: str) -> None:
    """A new group in every hierarchy; raises TimeoutError when somebody keeps removing the folders above it."""
    for _ in _patience():
        # Another lab that goes down at this moment removes the folder that both are in.
        with contextlib.suppress(FileNotFoundError):
            return _create(path)
    raise TimeoutError(f"{path} cannot be made")


def _create(path: str) -> None:
    for hierarchy in hierarchies():
        hierarchy.group(path).mkdir(parents=True, exist_ok=True)
        if "cpuset" in hierarchy.options.split(","):
            _inherit_cpuset(hierarchy, path)


def _inherit_cpuset(hierarchy: Hierarchy, path: str) -> None:
    """A new cpuset is empty, and no process may enter it until it is not."""
    below = hierarchy.mounted
    for part in (TOP, *path.split("/")):
        for file in ("cpuset.cpus", "cpuset.mems"):
            (below / part / file).write_text((below / file).read_text())
        below /= part


def join(path: str) -> None:
    """Moves the calling process; fit for use between fork and exec."""
    for hierarchy in hierarchies():
        (hierarchy.group(path) / "cgroup.procs").write_text("0")


def processes(path: str) -> set[int]:
    """All pids in a group and the groups below it, as the caller's pid namespace numbers them."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for folder, _, files in os.walk(hierarchy.group(path)):
            if "cgroup.procs" in files:
                with contextlib.suppress(OSError):  # it may go while we read
                    found.update(map(int, (Path(folder) / "cgroup.procs").read_text().split()))
    return found - {0}


def kill(path: str) -> None:
    """Ends all processes of a group; raises TimeoutError with the pids that do not go."""
    for _ in _patience():
        left = processes(path)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    raise TimeoutError(f"processes of {path} do not end: {sorted(processes(path))}")


def remove(path: str) -> None:
    """Removes a group with all below it, and the folders above that are empty then."""
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy.group(path), topdown=False):
            _rmdir(Path(folder))
        for parent in hierarchy.group(path).relative_to(hierarchy.mounted).parents[:-1]:
            with contextlib.suppress(OSError):  # another host or lab is in it
                (hierarchy.mounted / parent).rmdir()


def _rmdir(folder: Path) -> None:
    # A group stays busy for a moment after its last process has gone.
    for _ in _patience():
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            continue
        return
    raise TimeoutError(f"{folder} is still in use")


def freeze(path: str, frozen: bool) -> None:
    file, wanted = control("freezer", path, "freezer.state"), "FROZEN" if frozen else "THAWED"
    for _ in _patience():
        # Written again and again: a process that forks while it is being frozen keeps the group from getting there.
        file.write_text(wanted)
        if file.read_text().strip() == wanted:
            return
    raise TimeoutError(f"{path} is {file.read_text().strip()} and should be {wanted}")


def is_frozen(path: str) -> bool:
    file = control("freezer", path, "freezer.state")
    return file.exists() and file.read_text().strip() != "THAWED"


def limit_cpu(path: str, percent: int | None) -> None:
    """Processor time in percent of one processor, `None` for all there is."""
    period = int(control("cpu", path, "cpu.cfs_period_us").read_text())
    quota = -1 if percent is None else max(1000, period * percent // 100)
    control("cpu", path, "cpu.cfs_quota_us").write_text(str(quota))


def cpu_limit(path: str) -> int | None:
    quota = int(control("cpu", path, "cpu.cfs_quota_us").read_text())
    period = int(control("cpu", path, "cpu.cfs_period_us").read_text())
    return None if quota < 0 else quota * 100 // period


def _patience() -> Iterator[None]:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)
