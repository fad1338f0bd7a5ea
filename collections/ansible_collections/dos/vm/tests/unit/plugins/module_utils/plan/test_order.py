# SPDX-License-Identifier: GPL-3.0-or-later
"""The state diagram of VM-T2: every order in every state, as a picture that a reader can check."""

from __future__ import annotations

import pytest

from dosvm.errors import DeclarationError
from dosvm.model.order import Ordering, Verb
from dosvm.model.seed import ROOT as SEEDS
from dosvm.plan.order import INSTEAD, STATES, TABLE, judge, no_room
from dosvm.xml.build import parse

# + is carried out, = is so already, - is refused; the columns are the states in the order of the first line.
PICTURE = """
            running  paused  shut off  saved  crashed  in shutdown  pmsuspended
start       =        -       +         -      -        -            -
stop        +        +       =         =      +        +            +
reboot      +        -       -         -      -        -            -
reset       +        -       -         -      -        -            -
suspend     +        =       -         -      -        -            -
resume      =        +       -         -      -        -            +
save        +        -       -         =      -        -            -
restore     =        -       -         +      -        -            -
attach      +        +       +         -      -        -            -
detach      +        +       +         -      -        -            -
screenshot  +        +       -         -      +        -            -
console     +        +       +         +      +        +            +
release     +        +       +         +      +        +            +
"""
PAIRS = [
    (line.split()[0], state, sign)
    for line in PICTURE.strip().splitlines()[1:]
    for state, sign in zip(STATES, line.split()[1:], strict=True)
]


@pytest.mark.parametrize(("order", "state", "sign"), PAIRS)
def test_every_order_in_every_state_is_as_drawn(order: str, state: str, sign: str) -> None:
    verdict = judge(order, state)
    assert {"+": verdict.do, "=": not verdict.do and not verdict.refused, "-": bool(verdict.refused)}[sign]
    if sign == "-":
        assert all(word in verdict.refused for word in (order, state, INSTEAD[state]))


def test_the_picture_has_every_order_and_every_state() -> None:
    assert {order for order, _, _ in PAIRS} == set(TABLE) == set(Verb.__args__)
    assert all(state in PICTURE.split("\n")[1] for state in STATES)


def test_a_state_that_libvirt_may_have_and_we_do_not_know_is_refused() -> None:
    assert "no state" in judge("start", "no state").refused


@pytest.mark.parametrize(
    "said",
    [
        {"order": "attach"},
        {"order": "stop", "device": "<disk/>"},
        {"order": "screenshot"},
        {"order": "screenshot", "file": "/tmp/a.png", "names": ("a", "b")},
        {"order": "start", "force": True},
        {"order": "reset", "reset_after": True},
    ],
)
def test_what_does_not_go_with_an_order_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(DeclarationError):
        Ordering(**{"names": ("a",), **said})


def test_a_fifth_disk_is_refused_and_a_seed_counts_for_nobody() -> None:
    """HOT-06, AMB-22."""
    disks = "".join(f"<disk><source file='/srv/{name}'/></disk>" for name in "abc")
    seed = f"<disk><source file='{SEEDS}/web-1/x.iso'/></disk>"
    three = parse(f"<domain><devices>{disks}{seed}<disk device='cdrom'/></devices></domain>")
    assert "it has 4 disks, and may have 4" in no_room(three, parse("<disk/>"))
    assert no_room(three, parse("<interface/>")) == ""
    two = parse(f"<domain><devices>{disks}{seed}</devices></domain>")
    assert no_room(two, parse("<disk/>")) == ""
