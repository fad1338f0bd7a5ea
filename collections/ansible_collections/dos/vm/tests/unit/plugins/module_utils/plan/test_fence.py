# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that was given to another host is not made here by who decided before (law 8)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dosvm.errors import HypervisorError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.hypervisor.fences import fences, raise_fences
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.domain import Domain
from dosvm.model.slice import Permission
from dosvm.plan.domain import plan
from dosvm.plan.plan import Context, Observed
from dosvm.xml.domain import render

HOST = replace(FakeHypervisor().facts(), fences={"web-1": 4})
CONTEXT = Context(site="dos", host=HOST, permission=Permission(), observed={})


def domain(name: str = "web-1", **mark: int | None) -> Domain:
    return decode(Domain, {"name": name, "memory": "64 MiB", "virt_type": "qemu", "mark": {"site": "dos", **mark}})


@pytest.mark.parametrize("epoch", [None, 1, 3])
def test_an_older_decision_is_refused(epoch: int | None) -> None:
    made = plan(domain(epoch=epoch), None, CONTEXT)
    assert made.verdict == "conflict"
    assert "domain web-1 was given to another host while this run decided (epoch 4): run it again" in made.problem


@pytest.mark.parametrize("epoch", [4, 9])
def test_a_newer_one_makes_it(epoch: int) -> None:
    assert plan(domain(epoch=epoch), None, CONTEXT).verdict == "create"


def test_what_is_there_stays_whatever_was_noted() -> None:
    """A move that failed left it here; whoever decides reads that first."""
    here = Observed(address=Address("domain", "web-1"), xml=render(domain(epoch=1)), ours=True)
    assert plan(domain(), here, CONTEXT).verdict != "conflict"


def test_others_and_what_no_site_decided_about_are_free() -> None:
    assert plan(domain("web-2", epoch=1), None, CONTEXT).verdict == "create"
    assert plan(replace(domain(), mark=None), None, CONTEXT).verdict == "create"


def test_a_note_is_never_lowered_and_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    noted = tmp_path / "deep" / "fences.json"
    assert fences(noted) == {}
    assert raise_fences({"web-1": 4}, noted, dry_run=True)
    assert not noted.exists()
    assert raise_fences({"web-1": 4, "web-2": 1}, noted)
    assert not raise_fences({"web-1": 3}, noted)
    assert raise_fences({"web-2": 2}, noted)
    assert fences(noted) == {"web-1": 4, "web-2": 2}
    noted.write_text("[")
    with pytest.raises(HypervisorError, match="given to other hosts"):
        raise_fences({"web-1": 9}, noted)
