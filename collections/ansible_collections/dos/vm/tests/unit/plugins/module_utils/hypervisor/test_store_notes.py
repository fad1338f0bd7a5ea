# SPDX-License-Identifier: GPL-3.0-or-later
"""A host keeps the newest state of each site's store, and never forgets it for an older one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosvm.apply import converge
from dosvm.errors import HypervisorError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.hypervisor.store_notes import note_store, store_notes
from dosvm.model.decode import decode
from dosvm.model.host import StoreState
from dosvm.model.slice import Permission, Slice


def test_the_newest_state_is_kept_by_site(tmp_path: Path) -> None:
    noted = tmp_path / "new" / "stores.json"
    for site, ident, generation in (("a", "x", 4), ("a", "x", 3), ("b", "y", 1)):
        note_store(site, StoreState(id=ident, generation=generation), noted)
    assert {site: state.generation for site, state in store_notes(noted).items()} == {"a": 4, "b": 1}
    note_store("a", StoreState(id="of-another-store", generation=1), noted)
    assert store_notes(noted)["a"].id == "of-another-store"
    noted.write_text("{")
    with pytest.raises(HypervisorError, match="how far the stores of sites had come"):
        store_notes(noted)


def test_a_host_that_is_as_declared_notes_the_store_all_the_same() -> None:
    host = FakeHypervisor()
    for generation in (4, 5):
        held = decode(Slice, {"site": "lab", "store": {"id": "x", "generation": generation}})
        assert not converge(held, host, permission=Permission(), dry_run=True).changed
        assert (host.facts().stores or {}).get("lab") != held.store, "check mode wrote something"
        assert not converge(held, host, permission=Permission()).changed
        assert (host.facts().stores or {})["lab"] == held.store
