# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed, on this machine's libvirt: wherever it ended, the same call brings the host to the same end.

The run is a process of its own and dies by SIGKILL: nothing of it tidies up. `test_laws.py` says the same of a host in
memory, for many more slices.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.plan.action import Action

pytestmark = pytest.mark.libvirt

NEVER = 1000

# Guests take a second each to start and to stop, and come last: what is below them is killed action by action without them,
# and they with the rest standing. Together that is every action of the whole.


class Mortal(LibvirtHypervisor):
    """Dies when it has done so much."""

    actions = NEVER

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        super().perform(action, secrets)
        self.actions -= 1
        if not self.actions:
            os.kill(os.getpid(), signal.SIGKILL)


class Site:
    """A slice of all six kinds, and what is done with it."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, directory: Path) -> None:
        self.hypervisor, self.prefix = hypervisor, prefix
        self.values = {f"{prefix}console": b"k0nsole"}
        self.held = self._slice(directory)
        volumes = [f"volume {volume.pool}/{volume.name}" for volume in self.held.volumes]
        self.everything = Permission(prune=True, data_loss=tuple(volumes))

    def _slice(self, directory: Path) -> Slice:
        name, mark = self.prefix, {"mark": {"site": self.prefix, "stop_timeout": 0}}
        machine = {"memory": "16 MiB", "virt_type": "qemu", "machine": "pc", "rng": False, "stop_timeout": 0, **mark}
        card = {"network": f"{name}lan", "filter": f"{name}web"}
        console = {"type": "vnc", "password": f"{name}console"}
        return decode(
            Slice,
            {
                "site": name,
                "secrets": [{"name": f"{name}console"}],
                "pools": [{"name": name, "path": str(directory), "autostart": False}],
                "volumes": [
                    {"pool": name, "name": f"{name}base", "capacity": "4 MiB"},
                    {"pool": name, "name": f"{name}top", "backing": {"volume": f"{name}base"}},
                    {"pool": name, "name": f"{name}raw", "capacity": "1 MiB", "format": "raw"},
                ],
                "nwfilters": [{"name": f"{name}web", "rules": [{"action": "accept", "direction": "in"}]}],
                "networks": [
                    {"name": f"{name}lan", "bridge": f"{name}a", "forward": "none", "autostart": False, **mark},
                    {
                        "name": f"{name}dmz",
                        "bridge": f"{name}b",
                        "forward": "none",
                        "autostart": False,
                        "subnets": [{"address": "10.251.78.1/24"}],
                        **mark,
                    },
                ],
                "domains": [
                    {"name": f"{name}one", "interfaces": [card], "graphics": [console], **machine},
                    {"name": f"{name}two", **machine},
                    {"name": f"{name}three", "active": False, **machine},
                ],
            },
        )

    def whole(self, hypervisor: LibvirtHypervisor | None = None) -> Outcome:
        return self._converge(self.held, hypervisor)

    def below(self, hypervisor: LibvirtHypervisor | None = None) -> Outcome:
        """Everything but the guests, which go."""
        return self._converge(replace(self.held, domains=()), hypervisor)

    def remove(self, hypervisor: LibvirtHypervisor | None = None) -> Outcome:
        return self._converge(Slice(site=self.held.site), hypervisor)

    def _converge(self, held: Slice, hypervisor: LibvirtHypervisor | None) -> Outcome:
        return converge(held, hypervisor or self.hypervisor, permission=self.everything, secrets=self.values)

    def ours(self) -> list[str]:
        return [str(seen.address) for seen in self.hypervisor.observe(self.prefix).values() if seen.ours]


@pytest.fixture
def site(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> Site:
    for part in (tmp_path, *tmp_path.parents):
        if not part.stat().st_mode & 0o001:
            part.chmod(0o755)  # QEMU is another user, and pytest keeps its directories to itself
    return Site(hypervisor, prefix, tmp_path / "pool")


Run = Callable[..., Outcome]


def killed(run: Run, *, actions: int = NEVER, seconds: float = 60) -> bool:
    """Whether a process that does `run` died: after so many actions, or after so long."""
    child = os.fork()
    if not child:
        try:
            with closing(Mortal()) as held:
                held.actions = actions
                os._exit(len(run(held).failures))
        finally:
            os._exit(99)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.WIFSIGNALED(status) or status == 0, "the run failed by itself"
            return os.WIFSIGNALED(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def survives(run: Run, back: Run, *, actions: int = NEVER, seconds: float = 60) -> bool:
    """Whether a run was killed; it is then finished by the next, and undone again."""
    died = killed(run, actions=actions, seconds=seconds)
    assert run().failures == ()
    assert not run().changed
    assert back().failures == ()
    return died


def test_a_run_that_is_killed_after_any_action_is_finished_by_the_next(site: Site) -> None:
    below = next(number for number in range(1, NEVER) if not survives(site.below, site.remove, actions=number)) - 1
    site.below()
    guests = next(number for number in range(1, NEVER) if not survives(site.whole, site.below, actions=number)) - 1
    assert (below, guests) == (14, 5)
    assert site.remove().failures == ()
    assert site.ours() == []


def test_a_removal_that_is_killed_after_any_action_is_finished_by_the_next(site: Site) -> None:
    site.below()
    assert next(number for number in range(1, NEVER) if not survives(site.remove, site.below, actions=number)) == 12
    assert site.remove().failures == ()
    assert site.ours() == []


def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(site: Site) -> None:
    for run, back, moments in ((site.below, site.remove, 8), (site.whole, site.below, 2)):
        begin = time.monotonic()
        assert not killed(run)
        whole = time.monotonic() - begin
        back()
        for number in range(moments):
            survives(run, back, seconds=whole * (number + 0.5) / moments)
        run()
    assert site.remove().failures == ()
    assert site.ours() == []
