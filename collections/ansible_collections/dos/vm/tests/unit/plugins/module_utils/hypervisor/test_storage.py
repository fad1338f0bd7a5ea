# SPDX-License-Identifier: GPL-3.0-or-later
"""A layer is not made smaller than what it is layered over, as far as the first bytes of that tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosvm.errors import HypervisorError
from dosvm.hypervisor.storage import refuse_too_small
from dosvm.model.address import Address
from dosvm.model.types import ByteSize, Name, VolumeName
from dosvm.model.volume import Backing, Volume
from dosvm.xml.volume import render

MIB = 2**20


def layer(path: Path, format_: str, capacity: int | None) -> None:
    held = Volume(
        pool=Name("p"),
        name=VolumeName("layer"),
        capacity=None if capacity is None else ByteSize(capacity),
        backing=Backing(path=str(path), format=format_),  # type: ignore[arg-type]  # a path and a format as text
    )
    refuse_too_small(Address("volume", "p/layer"), render(held, "/srv/p"))


@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_a_smaller_one_is_refused_and_the_others_are_not(tmp_path: Path, format_: str) -> None:
    base = tmp_path / "base"
    if format_ == "raw":
        base.write_bytes(bytes(32 * MIB))
    else:
        base.write_bytes(b"QFI\xfb" + bytes(20) + (32 * MIB).to_bytes(8, "big") + bytes(72))
    with pytest.raises(HypervisorError, match=r"it would have 16 MiB, and .*base has 32 MiB: .*CONV-12"):
        layer(base, format_, 16 * MIB)
    layer(base, format_, 32 * MIB)
    layer(base, format_, None)


def test_what_does_not_tell_its_size_is_left_to_qemu(tmp_path: Path) -> None:
    base = tmp_path / "base"
    layer(base, "qcow2", MIB)  # not there
    base.write_bytes(b"QFI")
    layer(base, "qcow2", MIB)
    layer(base, "qed", MIB)
