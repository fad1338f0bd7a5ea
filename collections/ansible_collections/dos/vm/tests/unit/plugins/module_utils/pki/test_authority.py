# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities in files: made, issuing, succeeded. What is issued is judged by OpenSSL."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dosvm.errors import ConflictError
from dosvm.model.certificate import Asked, Authorities, Holding, Installed, Subject, Supplied
from dosvm.model.types import AbsolutePath, Name
from dosvm.pki import authority, files, x509
from dosvm.pki.authority import Authority, Life, first_step, next_step, take
from dosvm.pki.certificate import Wanted

LIFE = Life(days=3650, renew_before=400, since=None)
NAME = Name("libvirt")
SECRET = "a pass phrase"
FIELDS = {"common_name": "h1", "organisation": "Ünïcode + / Söhne"}

# Keys on hosts are root's.
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to root")


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def wanted(usage: str = "server", days: int = 365) -> Wanted:
    names = frozenset(["h1.example", "10.0.0.1", "fe80::1"])
    return Wanted(x509.spelled(FIELDS), names, usage, now() + timedelta(days=days), timedelta(days=60))


@pytest.fixture
def declared(tmp_path: Path) -> Authorities:
    return Authorities(folder=AbsolutePath(str(tmp_path / "pki")), bits=2048, subject=Subject(country="CN"))


@pytest.fixture
def holding(tmp_path: Path) -> Holding:
    path = {part: AbsolutePath(str(tmp_path / "host" / f"{part}.pem")) for part in ("certificate", "key", "trusted")}
    return Holding(authority=NAME, usage="server", **path)


def make(declared: Authorities, when: datetime | None = None) -> Authority:
    take("made", declared, NAME, days=3650, passphrase=SECRET, now=when or now())
    return Authority.load(declared, NAME)


def request(holding: Holding, usage: str = "server") -> str:
    subject = x509.as_argument(FIELDS)
    return files.ask(
        Asked(key=holding.key, subject=subject, names=("h1.example", "10.0.0.1", "fe80::1"), usage=usage, bits=2048)
    )


def issue(held: Authority, holding: Holding, usage: str = "server") -> str:
    signed = held.issue(
        request(holding, usage), FIELDS, wanted(usage), bits=2048, label="h1", passphrase=SECRET, now=now()
    )
    assert signed is not None
    return signed


def openssl(*words: str, text: str = "") -> str:
    return subprocess.run(("openssl", *words), input=text, capture_output=True, text=True, check=True).stdout


def test_what_is_issued_holds_before_openssl_for_its_usage_only(
    declared: Authorities, holding: Holding, tmp_path: Path
) -> None:
    made = make(declared)
    (tmp_path / "ca.pem").write_text(made.bundle[0])
    (tmp_path / "server.pem").write_text(issue(made, holding))
    verify = ("verify", "-x509_strict", "-CAfile", str(tmp_path / "ca.pem"))
    for told in ("-verify_hostname=h1.example", "-verify_ip=10.0.0.1", "-verify_ip=fe80::1"):
        openssl(*verify, "-purpose", "sslserver", *told.split("="), str(tmp_path / "server.pem"))
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*verify, "-purpose", "sslclient", str(tmp_path / "server.pem"))
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*verify, "-verify_hostname", "h2.example", str(tmp_path / "server.pem"))
    told = openssl("x509", "-noout", "-text", "-in", str(tmp_path / "server.pem"))
    assert "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment\n" in told
    assert "X509v3 Basic Constraints: critical\n                CA:FALSE\n" in told


def test_an_authority_signs_hosts_and_no_further_authorities(declared: Authorities) -> None:
    told = openssl("x509", "-noout", "-text", text=make(declared).bundle[0])
    assert "CA:TRUE, pathlen:0" in told
    assert "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n" in told
    assert "C = CN" in told


def test_its_key_is_encrypted_and_for_its_owner_alone(declared: Authorities, holding: Holding) -> None:
    made = make(declared)
    assert made.key is not None
    assert made.key.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert made.key.stat().st_mode & 0o777 == 0o600
    for passphrase, said in (("wrong", "not this pass phrase"), ("", "wants its pass phrase")):
        with pytest.raises(ConflictError, match=said):
            made.issue(request(holding), FIELDS, wanted(), bits=2048, label="h1", passphrase=passphrase, now=now())


def test_what_is_read_is_what_was_asked_for(declared: Authorities, holding: Holding) -> None:
    made = make(declared)
    held = x509.read(issue(made, holding))
    assert held is not None
    assert (held.subject, held.usage, held.names) == (wanted().subject, "server", wanted().names)
    assert made.has_issued(issue(made, holding))


def test_a_request_that_its_key_has_not_signed_is_refused(declared: Authorities, holding: Holding) -> None:
    asked = request(holding)
    lines = asked.splitlines()
    lines[5] = lines[5][::-1]
    with pytest.raises(ConflictError):
        x509.requested_key("\n".join(lines), 2048)


def test_a_key_that_is_shorter_than_the_policy_is_not_signed(declared: Authorities, holding: Holding) -> None:
    made, asked = make(declared), request(holding)
    with pytest.raises(ConflictError, match="a key of 2048 bits, and tls_key_bits is 3072"):
        made.issue(asked, FIELDS, wanted(), bits=3072, label="h1", passphrase=SECRET, now=now())
    elsewhere = replace(made, key=None)
    with pytest.raises(ConflictError, match="a key of 2048 bits, and tls_key_bits is 3072"):
        elsewhere.issue(asked, FIELDS, wanted(), bits=3072, label="h1", passphrase=SECRET, now=now())
    assert not (elsewhere.requests / "requests").exists()


# On the host


@as_root
def test_a_key_and_its_certificate_come_into_place_together(declared: Authorities, holding: Holding) -> None:
    made = make(declared)
    first = issue(made, holding)
    assert not Path(holding.key).exists()
    files.install(Installed(path=holding.certificate, text=first, key=holding.key))
    files.install(Installed(path=holding.trusted, text=made.bundle[0]))
    (held,) = files.observe([holding])["holdings"]
    read = x509.read(held["certificate"])
    assert read is not None
    assert read.public_key == held["public_key"]
    assert held["loose"] == []
    assert Path(holding.key).stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in str(held)


@as_root
def test_a_key_that_anybody_may_read_is_found_and_closed(declared: Authorities, holding: Holding) -> None:
    files.install(Installed(path=holding.certificate, text=issue(make(declared), holding), key=holding.key))
    Path(holding.key).chmod(0o644)
    assert files.observe([holding])["holdings"][0]["loose"] == [holding.key]
    files.restore(holding)
    assert files.observe([holding])["holdings"][0]["loose"] == []


def test_a_request_that_waits_for_its_signature_is_made_with_the_same_key(holding: Holding) -> None:
    assert x509.requested_key(request(holding), 2048) == x509.requested_key(request(holding), 2048)


# One succeeds another


def test_an_authority_is_made_once(declared: Authorities) -> None:
    assert first_step(declared, NAME, LIFE, now()) == "made"
    make(declared)
    assert first_step(declared, NAME, LIFE, now()) is None


def test_a_key_whose_certificate_is_gone_is_not_written_over(declared: Authorities) -> None:
    make(declared)
    Path(declared.folder, NAME, "cacert.pem").unlink()
    with pytest.raises(ConflictError, match="put that back"):
        first_step(declared, NAME, LIFE, now())


@pytest.mark.parametrize("life", [Life(3650, 400, now() - timedelta(days=2)), Life(3650, 3649, None)])
def test_one_too_old_or_about_to_end_is_succeeded_in_three_steps(declared: Authorities, life: Life) -> None:
    old = x509.fingerprint(make(declared, now() - timedelta(days=5)).bundle[0])
    assert first_step(declared, NAME, life, now()) == "announced"
    take("announced", declared, NAME, days=3650, passphrase=SECRET, now=now())
    assert first_step(declared, NAME, life, now()) is None
    held = Authority.load(declared, NAME)
    assert x509.fingerprint(held.bundle[0]) == old
    new = x509.fingerprint(held.bundle[1])

    assert next_step(declared, NAME, [{old, new}, {old}], [{old}, {old}]) is None
    assert next_step(declared, NAME, [{old, new}, {old, new}], [{old}, {old}]) == "put in charge"
    take("put in charge", declared, NAME, days=3650, passphrase=SECRET, now=now())
    held = Authority.load(declared, NAME)
    assert [x509.fingerprint(one) for one in held.bundle] == [new, old]

    assert next_step(declared, NAME, [{old, new}], [{new}, {old}]) is None
    assert next_step(declared, NAME, [{old, new}], [{new}, {new}]) == "forgotten"
    take("forgotten", declared, NAME, days=3650, passphrase=SECRET, now=now())
    assert [x509.fingerprint(one) for one in Authority.load(declared, NAME).bundle] == [new]


def test_who_is_put_in_charge_signs_also_when_that_broke_off(declared: Authorities, holding: Holding) -> None:
    make(declared)
    take("announced", declared, NAME, days=3650, passphrase=SECRET, now=now())
    folder = Path(declared.folder, NAME)
    new = (folder / "next-cert.pem").read_text()
    (folder / "previous-cert.pem").write_bytes((folder / "cacert.pem").read_bytes())
    (folder / "next-key.pem").rename(folder / "cakey.pem")
    authority.finish(declared, NAME)
    held = Authority.load(declared, NAME)
    assert held.bundle[0] == new
    assert x509.is_issued_by(issue(held, holding), new)


# Supplied


def test_a_supplied_authority_signs_and_is_never_written(
    declared: Authorities, holding: Holding, tmp_path: Path
) -> None:
    made = make(declared)
    assert made.key is not None
    supplied = Supplied(
        certificate=AbsolutePath(str(made.key.with_name("cacert.pem"))), key=AbsolutePath(str(made.key))
    )
    own = Authorities(folder=AbsolutePath(str(tmp_path / "other")), supplied={NAME: supplied})
    held = Authority.load(own, NAME)
    assert x509.is_issued_by(issue(held, holding), made.bundle[0])
    assert not (tmp_path / "other").exists()


def test_without_its_key_requests_wait_for_somebody_elses_signature(
    declared: Authorities, holding: Holding, tmp_path: Path
) -> None:
    made = make(declared)
    assert made.key is not None
    supplied = Supplied(certificate=AbsolutePath(str(made.key.with_name("cacert.pem"))))
    own = Authorities(folder=AbsolutePath(str(tmp_path / "other")), supplied={NAME: supplied})
    held = Authority.load(own, NAME)
    assert (
        held.issue(request(holding), FIELDS, wanted(), bits=2048, label="h1-server", passphrase="", now=now()) is None
    )
    folder = tmp_path / "other" / NAME
    waiting = (folder / "requests" / "h1-server.pem").read_text()
    assert "DNS:h1.example" in openssl("req", "-noout", "-text", "-verify", text=waiting)
    signed = made.issue(waiting, FIELDS, wanted(), bits=2048, label="", passphrase=SECRET, now=now())
    assert signed is not None
    (folder / "issued").mkdir()
    (folder / "issued" / "h1-server.pem").write_text(signed)
    assert (
        held.issue(request(holding), FIELDS, wanted(), bits=2048, label="h1-server", passphrase="", now=now()) == signed
    )
    assert held.has_issued(signed)
