# SPDX-License-Identifier: GPL-3.0-or-later
"""The law of data over several hosts: what ever held data is neither made empty nor deleted, unless `data_loss` names it.

What holds data is known here by the files alone: a volume that was there once, on whichever host, holds data ever after.
"""

from __future__ import annotations

import os
from typing import Any

from fake_hosts import SHARED, Hosts
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dosvm.model.address import Address
from dosvm.site.load import load
from dosvm.site.site import Site

HOSTS = ("h1", "h2", "h3")
VMS = ("own", "both", "bound", "late")
DISKS = {
    "own": [{"pool": "local", "capacity": "1 MiB"}],
    "both": [{"pool": "common", "capacity": "1 MiB"}, {"volume": "data"}],
    "bound": [{"pool": "common", "capacity": "1 MiB"}],
    "late": [{"volume": "layer"}],
}
NAMES = st.sampled_from(HOSTS)


def site(*, without: str = "", at: str = "") -> Site:
    bound = {"host": at} if at else {}
    vms: dict[str, dict[str, Any]] = {"own": bound, "both": bound, "bound": {"host": "h2"}, "late": {"power": "off"}}
    return load(
        {
            "dos_projects": {"shop": {}},
            "dos_pools": {"common": {"path": "/srv/common", "shared": True}, "local": {"path": "/srv/local"}},
            "dos_volumes": {
                "data": {"pool": "common", "capacity": "1 MiB"},
                "spare": {"pool": "common", "capacity": "1 MiB"},
                "base": {"pool": "common", "capacity": "1 MiB"},
                "layer": {"pool": "common", "base": "base"},
                "kept": {"pool": "local", "host": "h3", "capacity": "1 MiB"},
            },
            "dos_instances": {
                name: {"project": "shop", "memory": "64 MiB", "disks": DISKS[name], "vms": {name: vm}}
                for name, vm in vms.items()
                if name != without
            },
        },
        hosts=HOSTS,
    )


SITES = {at: site(at=at) for at in ("", *HOSTS)}
FEWER = {vm: site(without=vm) for vm in VMS}


class Volumes(RuleBasedStateMachine):
    """Runs and people in any order, while hosts come and go."""

    @initialize(with_store=st.booleans(), first=st.booleans())
    def begins(self, with_store: bool, first: bool) -> None:
        self.hosts = Hosts(*HOSTS, with_store=with_store)
        self.existed: set[str] = set()
        self.files: set[tuple[str, str]] = set()
        if first:
            self.runs(at="", prune=False)

    def seen(self) -> set[tuple[str, str]]:
        """The files of volumes: of the shared directory once, of the others by host."""
        return {
            ("" if path.startswith(SHARED) else name, path)
            for name, host in self.hosts.by_name.items()
            for path in host.files
            if path.startswith(("/srv/common/", "/srv/local/"))
        }

    @rule(at=st.sampled_from(list(SITES)), prune=st.booleans())
    def runs(self, at: str, prune: bool) -> None:
        """Where VMs are bound to may be another host than before, which takes a store to know while one is unreachable."""
        self.hosts.run(SITES[at if self.hosts.with_store else ""], prune=prune)
        now = self.seen()
        assert self.files <= now, f"deleted: {self.files - now}"
        made = {path for _, path in now - self.files}
        assert not made & self.existed, f"made anew: {made & self.existed}"
        self.files, self.existed = now, self.existed | made

    @rule(at=st.sampled_from(list(SITES)))
    def runs_again(self, at: str) -> None:
        self.runs(at=at, prune=False)

    @rule(vm=st.sampled_from(VMS))
    def a_vm_and_its_data_may_go(self, vm: str) -> None:
        """What was lost by hand may be made anew when it is declared again; what is open is not deleted (`Hosts.run`)."""
        named = {disk.get("volume", f"{vm}-vda") for disk in DISKS[vm]} - {"data", "layer"}
        volumes = {f"{pool}/{name}" for pool in ("common", "local") for name in named}
        keys = [f"volume {volume}" for volume in volumes]
        self.hosts.run(FEWER[vm], *keys, *(f"{key} on {host}" for key in keys for host in HOSTS), prune=True)
        self.files = self.seen()
        self.existed -= {f"/srv/{volume}" for volume in volumes}

    @rule(name=NAMES)
    def a_host_is_unreachable(self, name: str) -> None:
        self.hosts.unreachable.add(name)

    @rule(name=NAMES)
    def a_host_answers_again(self, name: str) -> None:
        self.hosts.unreachable.discard(name)

    @rule(name=NAMES)
    def a_dead_host_is_released(self, name: str) -> None:
        if name in self.hosts.unreachable and self.hosts.with_store:
            for vm in VMS:
                self.hosts.undefine(name, vm)  # it is scrapped, or comes back without guests that run
            self.hosts.release(name)

    @rule(name=NAMES)
    def a_host_is_installed_anew(self, name: str) -> None:
        """Some time after a run: what a run makes is in the store when the next one has read the hosts."""
        if self.hosts.with_store and name not in self.hosts.unreachable:
            for _ in range(2):
                self.runs(at="", prune=False)
            self.hosts.install_anew(name)
            self.files = self.seen()

    @rule(chosen=st.integers(min_value=0, max_value=20))
    def a_file_is_lost(self, chosen: int) -> None:
        if self.files:
            host, path = sorted(self.files)[chosen % len(self.files)]
            self.hosts.lose(path, *([host] if host else []))
            self.files = self.seen()

    @rule(name=NAMES, pool=st.sampled_from(["common", "local"]))
    def a_pool_is_stopped(self, name: str, pool: str) -> None:
        self.hosts.stop_pool(name, pool)

    @rule(name=NAMES, vm=st.sampled_from(VMS))
    def a_vm_is_undefined(self, name: str, vm: str) -> None:
        self.hosts.undefine(name, vm)

    @invariant()
    def nothing_is_written_twice(self) -> None:
        for vm in VMS:
            running = [name for name in self.hosts.with_vm(vm) if _runs(self.hosts, name, vm)]
            assert len(running) <= 1, f"{vm} runs on {running}"


def _runs(hosts: Hosts, name: str, vm: str) -> bool:
    return hosts.by_name[name].objects[Address("domain", vm)].active


TestNothingTakesThePlaceOfData = Volumes.TestCase
TestNothingTakesThePlaceOfData.settings = settings(
    max_examples=int(os.environ.get("DOSVM_EXAMPLES", "8")) * 3,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a run of many steps shrinks for minutes
    suppress_health_check=list(HealthCheck),
)
