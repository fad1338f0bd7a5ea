# SPDX-License-Identifier: GPL-3.0-or-later
"""Interfaces come and go while they are asked: guests, labs and other people make and remove them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosvm.hypervisor import links


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(links, "NET", tmp_path)
    for name in ("eth0", "eth1"):
        (tmp_path / name / "statistics").mkdir(parents=True)
        for counter in ("rx_bytes", "tx_bytes"):
            (tmp_path / name / "statistics" / counter).write_text("7\n")
    return tmp_path


def test_what_goes_while_it_is_counted_counts_for_nothing(net: Path) -> None:
    (net / "eth1" / "statistics" / "rx_bytes").unlink()
    (net / "eth1" / "statistics" / "tx_bytes").write_text("")  # read of one that is gone
    assert links.traffic() == 14


def test_a_port_that_goes_while_it_is_asked_is_nobodys(net: Path) -> None:
    (net / "eth1" / "master").symlink_to("../br0")
    assert links.links()["eth1"].master == "br0"
    (net / "eth1" / "master").unlink()
    assert links.links()["eth1"].master is None
