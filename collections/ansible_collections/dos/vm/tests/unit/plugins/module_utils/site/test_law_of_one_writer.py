# SPDX-License-Identifier: GPL-3.0-or-later
"""Law 8, validation's part: a site is refused exactly if two VMs that are on could write one file, whatever the file is called.

The oracle tries every host for every VM of a small world, and asks which file a path of that host is.
"""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, event, given, settings
from one_writer_worlds import HOSTS, World, file_at, worlds

from dosvm.errors import DeclarationError
from dosvm.site.load import load


def clashes(world: World, use: str) -> bool:
    """Whether a VM that is on could write what another that is on writes; or, for `layer`, any what any reads below one."""
    found = [(vm, at, disk) for vm, disks in world.disks.items() for at, disk in enumerate(disks)]
    for (vm, at, disk), (other_vm, other_at, other) in itertools.permutations(found, 2):
        if disk.use != "write" or other.use != use or (use == "write" and not (world.on[vm] and world.on[other_vm])):
            continue
        for host, other_host in itertools.product(disk.hosts, other.hosts):
            if vm == other_vm and (host != other_host or at == other_at):
                continue
            if file_at(world, host, disk.path) == file_at(world, other_host, other.path):
                return True
    return False


def problems(world: World) -> str:
    try:
        load(world.variables, hosts=HOSTS)
    except DeclarationError as refused:
        return str(refused)
    return ""


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_two_names_of_one_file_have_one_writer_and_nothing_is_written_below_layers(world: World) -> None:
    refused = problems(world)
    for rule, use in (("(VM-08)", "write"), ("(VSNP-03)", "layer")):
        expected = clashes(world, use)
        event(f"{rule} {expected}")
        assert (rule in refused) == expected, use
