# SPDX-License-Identifier: GPL-3.0-or-later
"""When a certificate is issued anew, and whom it names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dosvm.pki.certificate import Certificate, Wanted, names_of, reasons

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DAY = timedelta(days=1)
HELD = Certificate(
    subject="CN=h1", issuer="CN=ca", names=frozenset(["h1", "10.0.0.1"]), usage="server",
    begins=NOW - 100 * DAY, ends=NOW + 265 * DAY, public_key="key",
)  # fmt: skip
WANTED = Wanted(subject="CN=h1", names=HELD.names, usage="server", ends=NOW + 365 * DAY, margin=60 * DAY)


def why(
    held: Certificate | None = HELD, wanted: Wanted = WANTED, *, key: str = "key", signed: bool = True
) -> list[str]:
    return list(reasons(held, wanted, public_key=key, signed=signed, now=NOW))


def test_one_that_will_do_stays() -> None:
    assert why() == []


def test_where_there_is_none_one_is_issued() -> None:
    assert why(None) == ["there is none"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"names": frozenset(["h1"])}, "it does not name 10.0.0.1"),
        ({"names": HELD.names | {"h9"}}, "it names h9"),
        ({"usage": "client"}, "its usage is client, not server"),
        ({"subject": "CN=h2"}, "its subject is CN=h2, not CN=h1"),
        ({"begins": NOW + DAY}, "it is not valid before 2026-11-22"),
        ({"ends": NOW + 59 * DAY}, "it ends on 2027-01-19"),
        ({"ends": NOW - DAY}, "it ended on 2026-11-20"),
    ],
)
def test_whatever_is_not_as_wanted_is_told(change: dict[str, Any], reason: str) -> None:
    assert why(replace(HELD, **change)) == [reason]


def test_somebody_elses_key_or_signature_is_told() -> None:
    assert why(key="another") == ["it does not fit the key beside it"]
    assert why(signed=False) == ["it was issued by CN=ca"]


def test_within_its_margin_it_stays_when_a_new_one_would_not_last_longer() -> None:
    """The authority ends: the same certificate would be issued in every run."""
    ends = NOW + 30 * DAY
    assert why(replace(HELD, ends=ends), replace(WANTED, ends=ends + timedelta(hours=1))) == []


def test_a_host_may_call_itself_what_nobody_else_is_called() -> None:
    assert names_of(["h1", "10.0.0.1"], ["node7.example.org"], ["h2", "10.0.0.2"]) == {
        "h1",
        "10.0.0.1",
        "node7.example.org",
    }
    assert names_of(["h1"], ["H2"], ["h2"]) == {"h1"}
    assert names_of(["h1"], ["10.0.0.2"], ["h2", "10.0.0.2"]) == {"h1"}


def test_an_address_comes_from_the_inventory_alone() -> None:
    assert names_of(["h1", "10.0.0.1"], ["10.9.9.2", "FE80::2"], ["h2"]) == {"h1", "10.0.0.1"}


def test_names_that_lead_nowhere_or_are_spelled_otherwise_are_no_names_of_their_own() -> None:
    assert names_of(["my host", "localhost", "127.0.0.1", "::1", "FE80::0:1", "Web.Example.", "12"], [], []) == {
        "fe80::1",
        "web.example",
    }
