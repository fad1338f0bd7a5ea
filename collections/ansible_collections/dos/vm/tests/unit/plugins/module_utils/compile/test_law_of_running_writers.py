# SPDX-License-Identifier: GPL-3.0-or-later
"""Law 8, what runs: two running VMs on one file are reported, on whichever hosts, by whatever path, and no others are."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from one_writer_worlds import HOSTS, World, file_at, worlds

from dosvm.compile.states import HostState, WrittenDisk
from dosvm.compile.written_twice import written_twice
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.site.device_sources import Source
from dosvm.site.load import load

FACTS = FakeHypervisor().facts()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.data())
def test_two_running_vms_on_one_file_are_reported(world: World, data: st.DataObject) -> None:
    at = {vm: data.draw(st.sampled_from(sorted(HOSTS))) for vm in world.disks}
    written = [(vm, disk.path) for vm, disks in world.disks.items() for disk in disks if disk.use == "write"]
    assume(len(written) > 1)
    states = {
        host: HostState(
            facts=FACTS, written=tuple(_told(world, data, vm, path, host) for vm, path in written if at[vm] == host)
        )
        for host in HOSTS
    }
    expected = any(
        vm != other and file_at(world, at[vm], path) == file_at(world, at[other], other_path)
        for (vm, path), (other, other_path) in itertools.combinations(written, 2)
    )
    event(f"one file: {expected}")
    reported = bool(list(written_twice(load(world.variables, hosts=HOSTS, check=False), states)))
    # A path that is declared shared and lies on a server for some hosts only is one file to the declaration, and two to the oracle.
    assert reported == expected or (reported and _contradicts(world))


def _contradicts(world: World) -> bool:
    return any(
        hosts & mounted and f"{top}/".startswith(f"{folder}/")
        for top, hosts in world.shared
        for folder, mounted, _ in world.mounts
    )


def _told(world: World, data: st.DataObject, vm: str, path: str, host: str) -> WrittenDisk:
    """As the host reports it: by its path, or by a link to it that no declaration knows."""
    name = data.draw(st.sampled_from([path, f"/links/{vm}"]))
    return WrittenDisk(vm, Source(name), path, frozenset([f"inode {file_at(world, host, path)}"]))
