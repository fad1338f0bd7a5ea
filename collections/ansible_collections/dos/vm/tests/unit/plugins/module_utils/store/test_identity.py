# SPDX-License-Identifier: GPL-3.0-or-later
"""A host is known again under another name, with another system and as a clone (LIMIT-06)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dosvm.hypervisor.identity import hardware, identity
from dosvm.store.hosts import HostRecord
from dosvm.store.identity import Registration, Told, identify, surveyed

H1 = HostRecord(uuid="u1", name="h1", hardware="a", facts={}, registered=1.0, answered=2.0, surveyed=2.0)
H2 = replace(H1, uuid="u2", name="h2", hardware="b")


def told(**hosts: tuple[str, str]) -> dict[str, Told]:
    return {name: Told(identity=uuid, hardware=parts) for name, (uuid, parts) in hosts.items()}


def names(made: Registration) -> list[tuple[str, str]]:
    return [(record.uuid, record.name) for record in made.records]


def test_a_known_host_answers() -> None:
    made = identify([H1, H2], told(h1=("u1", "a")), at=9.0)
    assert made.records == (replace(H1, answered=9.0),)
    assert (made.findings, made.renamed, made.replaced) == ((), {}, ())
    assert [record.surveyed for record in surveyed(made.records, 9.0)] == [9.0]


def test_a_new_host_registers_itself() -> None:
    made = identify([H1], told(h1=("u1", "a"), h3=("u3", "c")), at=9.0)
    assert names(made) == [("u1", "h1"), ("u3", "h3")]
    assert made.records[1] == HostRecord(uuid="u3", name="h3", hardware="c", facts={}, registered=9.0, answered=9.0)


def test_a_host_under_a_new_name_is_the_same_host() -> None:
    made = identify([H1, H2], told(h9=("u1", "a"), h2=("u2", "b")), at=9.0)
    assert made.renamed == {"h1": "h9"}
    assert names(made) == [("u2", "h2"), ("u1", "h9")]
    assert made.records[1].registered == 1.0
    assert made.findings == ("host h1 is called h9 now; what was placed on it is on it still",)


def test_two_hosts_that_swapped_names_are_known() -> None:
    made = identify([H1, H2], told(h1=("u2", "b"), h2=("u1", "a")), at=9.0)
    assert made.renamed == {"h1": "h2", "h2": "h1"}


def test_a_host_installed_anew_keeps_its_record() -> None:
    made = identify([H1], told(h1=("u9", "a")), at=9.0)
    assert made.replaced == ("u1",)
    assert (made.records[0].uuid, made.records[0].registered) == ("u9", 1.0)
    assert made.findings == ("host h1 has been installed anew; its record goes on",)


def test_one_installed_anew_under_a_new_name_is_offered() -> None:
    made = identify([H1], told(h9=("u9", "a")), at=9.0)
    assert "host h9 is made of the same parts as h1, which does not answer" in made.findings[0]
    assert "-e dos_release=h1" in made.findings[0]
    assert made.replaced == ()


def test_another_machine_under_an_old_name_is_told() -> None:
    made = identify([H1], told(h1=("u9", "z")), at=9.0)
    assert "host h1 is another machine than before" in made.findings[0]
    assert made.records[0].registered == 9.0


PLACED = {"h1": frozenset(["web-1"])}


def foreign(*, placed: dict[str, frozenset[str]] = PLACED, **hosts: Told) -> Registration:
    return identify([H1, H2], hosts, at=9.0, placed=placed)


def test_another_machine_under_the_name_of_a_host_with_vms_is_not_used() -> None:
    """A new machine is no evidence that the former one is dead: nothing is registered, and a person has to confirm it."""
    made = foreign(h1=Told(identity="u9", hardware="z"))
    assert (made.records, made.replaced, made.findings) == ((), (), ())
    assert "web-1 may still run on the former one, so h1 is not used" in made.foreign["h1"]
    assert "-e dos_release=h1 -e dos_confirm=h1" in made.foreign["h1"]
    assert foreign(h1=Told(identity="u9", hardware="z"), placed={}).foreign == {}


def test_a_host_installed_anew_is_used_when_it_has_its_vms_or_was_released() -> None:
    assert "h1" in foreign(h1=Told(identity="u9", hardware="a")).foreign
    assert names(foreign(h1=Told(identity="u9", hardware="a", vms=PLACED["h1"]))) == [("u9", "h1")]
    released = identify([H2], {"h1": Told(identity="u9", hardware="a")}, at=9.0, placed={})
    assert (names(released), released.findings) == ([("u9", "h1")], ())


def test_a_known_host_takes_no_name_whose_host_is_gone() -> None:
    """`ansible_host` of h1 leads to h2 by mistake: what was placed on h1 is not on it."""
    made = foreign(h1=Told(identity="u2", hardware="b", vms=PLACED["h1"]))
    assert (made.renamed, list(made.foreign)) == ({}, ["h1"])
    swapped = foreign(h1=Told(identity="u2", hardware="b"), h2=Told(identity="u1", hardware="a"))
    assert (swapped.renamed, swapped.foreign) == ({"h1": "h2", "h2": "h1"}, {})


def test_a_clone_is_told_once_and_not_registered() -> None:
    made = identify([H1], told(h1=("u1", "a"), h2=("u1", "b"), h3=("u3", "c")), at=9.0)
    assert names(made) == [("u3", "h3")]
    assert len(made.findings) == 1
    assert "h1 and h2 have the same identity: the disk of one is a clone of the other's" in made.findings[0]
    both = identify([], told(h1=("u1", "a"), alias=("u1", "a")), at=9.0)
    assert "alias and h1 are one machine by two names" in both.findings[0]


def test_a_host_that_cannot_say_who_it_is_is_left_out() -> None:
    assert identify([H1], told(h1=("", "")), at=9.0) == Registration()


def tree(root: Path, machine: str, mac: str, *, serial: str = "S1") -> Path:
    for path, text in {
        "etc/machine-id": machine,
        "sys/class/dmi/id/product_serial": serial,
        "sys/class/dmi/id/board_serial": "To Be Filled By O.E.M.",
        "sys/class/net/eth0/address": mac,
        "sys/class/net/eth0/device/vendor": "0x8086",
        "sys/class/net/vnet0/address": "fe:54:00:00:00:01",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n")
    return root


def test_a_clone_has_the_identity_and_other_parts_and_a_new_system_the_reverse(tmp_path: Path) -> None:
    first = tree(tmp_path / "1", "aaaa", "52:54:00:00:00:01")
    clone = tree(tmp_path / "2", "aaaa", "52:54:00:00:00:02")
    anew = tree(tmp_path / "3", "bbbb", "52:54:00:00:00:01")
    assert (identity(first) == identity(clone), hardware(first) == hardware(clone)) == (True, False)
    assert (identity(first) == identity(anew), hardware(first) == hardware(anew)) == (False, True)
    assert "aaaa" not in identity(first)


def test_guests_cards_are_not_the_machines_and_a_bond_hides_nothing(tmp_path: Path) -> None:
    held = tree(tmp_path, "aaaa", "52:54:00:00:00:01")
    before = hardware(held)
    (held / "sys/class/net/vnet0/address").write_text("fe:54:00:00:00:09\n")
    assert hardware(held) == before
    (held / "sys/class/net/eth0/bonding_slave").mkdir()
    (held / "sys/class/net/eth0/bonding_slave/perm_hwaddr").write_text("52:54:00:00:00:01\n")
    (held / "sys/class/net/eth0/address").write_text("52:54:00:00:00:77\n")
    assert hardware(held) == before


def test_what_tells_nothing_is_nothing(tmp_path: Path) -> None:
    assert (identity(tmp_path), hardware(tmp_path)) == ("", "")
