# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts that share a pool: neither makes anew what the other has made, and neither takes what is not as declared."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.plan.action import Action, CreateVolume

MIB = 2**20


class Host(FakeHypervisor):
    """A host that lets `first` do its run before it makes a volume of its own."""

    first: tuple[FakeHypervisor, Slice] | None = None

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        if self.first is not None and isinstance(action, CreateVolume):
            run(*self.first)
        super().perform(action, secrets)


def slice_(**volume: Any) -> Slice:
    made = [{"pool": "common", "name": "data", "capacity": "64 MiB", **volume}] if volume else []
    return decode(Slice, {"pools": [{"name": "common", "path": "/srv/shared"}], "volumes": made})


def run(host: FakeHypervisor, held: Slice, **how: Any) -> Outcome:
    return converge(held, host, permission=Permission(), **how)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosvm.apply.STEP", 0.0)


@pytest.fixture
def hosts() -> tuple[Host, Host]:
    """Two whose pool runs already, over the same files."""
    one, two = Host(), Host()
    two.files = one.files
    for host in (one, two):
        run(host, slice_())
    return one, two


DATA = slice_(format="qcow2")


def test_what_another_host_made_before_is_in_the_plan(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    run(one, DATA)
    assert not run(two, DATA, dry_run=True).changed
    assert not run(two, DATA).changed


def test_what_another_host_made_since_the_plan_is_taken(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    two.first = (one, DATA)
    outcome = run(two, DATA)
    assert (outcome.failures, outcome.performed) == ((), ("volume common/data has been found",))
    assert not run(two, DATA).changed


def test_half_of_what_another_host_makes_is_waited_for(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    run(one, DATA)
    whole = one.files["/srv/shared/data"]
    half = deepcopy(whole)
    half.find("target/format").set("type", "raw")  # type: ignore[union-attr]  # as libvirt calls a file without a header
    half.find("capacity").text = "196608"  # type: ignore[union-attr]
    one.files["/srv/shared/data"] = half
    two.refresh = lambda pool: two.files.update({"/srv/shared/data": whole})  # type: ignore[method-assign]
    outcome = run(two, DATA)
    assert (outcome.failures, outcome.performed) == ((), ())
    assert {plan.verdict for plan in outcome.plans} == {"keep"}


def test_what_is_smaller_than_declared_is_taken_and_grows(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = hosts
    monkeypatch.setattr("dosvm.apply.HALF_MADE", 0.0)
    two.first = (one, slice_(capacity="32 MiB"))
    outcome = run(two, DATA)
    assert (outcome.failures, len(outcome.performed)) == ((), 2)
    assert two.files["/srv/shared/data"].findtext("capacity") == str(64 * MIB)


def test_what_is_not_as_declared_is_left_and_named(hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = hosts
    monkeypatch.setattr("dosvm.apply.HALF_MADE", 0.0)
    two.first = (one, slice_(format="raw"))
    ((volume, why),) = run(two, DATA).failures
    assert volume == "volume common/data"
    assert "exists already and is not as declared: format: raw → qcow2" in why
    assert two.files["/srv/shared/data"].find("target/format").get("type") == "raw"  # type: ignore[union-attr]
