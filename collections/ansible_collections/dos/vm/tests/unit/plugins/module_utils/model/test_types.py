# SPDX-License-Identifier: GPL-3.0-or-later
"""One meaning, one spelling."""

from __future__ import annotations

import pytest

from dosvm.model.address import Address as ObjectAddress
from dosvm.model.address import own_uuid
from dosvm.model.types import Address, ByteSize, Cidr, DnsName, Line, Mac, Prefix, Uuid, Word


@pytest.mark.parametrize(
    ("written", "amount", "shown"),
    [
        ("1 GiB", 2**30, "1 GiB"),
        ("1024MiB", 2**30, "1 GiB"),
        ("1 GB", 10**9, "1000000000 B"),
        ("1.5 KiB", 1536, "1536 B"),
        ("2 g", 2 * 2**30, "2 GiB"),
        ("0 B", 0, "0 B"),
    ],
)
def test_a_size_is_a_number_of_bytes_with_a_readable_spelling(written: str, amount: int, shown: str) -> None:
    assert (int(ByteSize(written)), str(ByteSize(written))) == (amount, shown)


@pytest.mark.parametrize("amount", [0, 1, 1023, 1024, 10**9, 2**40, 3 * 2**20 + 1])
def test_a_shown_size_reads_back_as_itself(amount: int) -> None:
    assert ByteSize(str(ByteSize(amount))) == amount


def test_memory_is_rounded_up_to_whole_kib() -> None:
    assert ByteSize("1025 B").kib == 2


def test_a_mac_has_one_spelling() -> None:
    assert Mac("52-54-00-AA-BB-CC") == Mac("52:54:00:aa:bb:cc")


def test_an_ipv6_address_has_one_spelling() -> None:
    assert Address("2001:DB8:0:0::1") == "2001:db8::1"
    assert Cidr("2001:DB8::1/64").prefix == 64


def test_host_bits_are_refused_with_the_network_to_write() -> None:
    with pytest.raises(ValueError, match=r"'192\.168\.4\.100/24' has host bits, write 192\.168\.4\.0/24"):
        Prefix("192.168.4.100/24")


def test_a_uuid_has_one_spelling() -> None:
    assert Uuid("{6F6D1D4C-9D0F-5C2F-8A1E-0D05D05D05D0}") == "6f6d1d4c-9d0f-5c2f-8a1e-0d05d05d05d0"


def test_the_mark_of_a_pool_depends_on_site_kind_and_name_alone() -> None:
    marks = {
        own_uuid(site, ObjectAddress(kind, name))
        for site in ("a", "b")
        for kind in ("pool", "secret")
        for name in ("x", "y")
    }
    assert len(marks) == 8
    assert own_uuid("a", ObjectAddress("pool", "x")) in marks


@pytest.mark.parametrize("scope", ["eth0", "$(id)", "x]\n52:54:00:00:00:66,[fd00::66],bank", ""])
@pytest.mark.parametrize("kind", [Address, Cidr, Prefix])
def test_no_address_has_a_scope(kind: type[Address] | type[Cidr], scope: str) -> None:
    prefix = "" if kind is Address else "/64"
    with pytest.raises(ValueError, match=r"has a scope after '%', write 'fe80::'"):
        kind(f"fe80::%{scope}{prefix}" if scope else f"fe80::%{prefix or 'x'}")


@pytest.mark.parametrize(
    "text", ["a\nb", "a b", "", "a..b", ".", "-a", "a-", "a" * 64, "ä.example", "a,b", ".".join(["a" * 60] * 5)]
)
def test_what_is_no_dns_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a DNS name"):
        DnsName(text)


@pytest.mark.parametrize("text", ["www", "WWW.example.org", "_ldap._tcp.example.org", "10.0.0.1", "a" * 63])
def test_a_dns_name_stays_as_written(text: str) -> None:
    assert DnsName(text) == text


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\u2028b", "a\x9bb", "a\u202eb", "a\u200bb"])
def test_a_line_has_no_breaks_and_nothing_invisible(text: str) -> None:
    for kind in (Line, Word):
        with pytest.raises(ValueError, match=r"write it without"):
            kind(text)


@pytest.mark.parametrize("text", ["two words", "a,b", 'a"b', "a'b", "a\\b", ""])
def test_a_word_is_one_field(text: str) -> None:
    with pytest.raises(ValueError, match="is not one word"):
        Word(text)


@pytest.mark.parametrize("text", ["9" * 400 + ".5 GiB", "99999999999 TiB", "8388608 TiB"])
def test_a_size_above_63_bits_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is more than the largest size, write less than 8 EiB"):
        ByteSize(text)
