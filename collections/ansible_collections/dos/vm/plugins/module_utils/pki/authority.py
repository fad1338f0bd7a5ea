# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities on the controller: the files of one, how it issues, and how one takes over from another.

    <folder>/<name>/cacert.pem         who signs                     cakey.pem   its key
    <folder>/<name>/next-cert.pem      who is trusted, to sign soon  next-key.pem
    <folder>/<name>/previous-cert.pem  who is trusted, and has signed
    <folder>/<name>/requests, issued   for authorities whose key is elsewhere

One takes over in three steps, each only when all hosts have done what the one before asks of them: it is trusted, it signs,
the old one is forgotten. So at any moment every two hosts trust each other's certificates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from .. import durable
from ..errors import ConflictError
from ..model.certificate import Authorities
from ..model.decode import encode
from . import x509
from .certificate import Wanted

Step = Literal["made", "announced", "put in charge", "forgotten"]


@dataclass(frozen=True, slots=True)
class Life:
    """When an authority comes and goes: days it is valid, days before its end it is replaced, a day it must be younger than."""

    days: int
    renew_before: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Files:
    """The files of an authority that was made here."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "cacert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "cakey.pem"

    @property
    def next(self) -> Path:
        return self.folder / "next-cert.pem"

    @property
    def next_key(self) -> Path:
        return self.folder / "next-key.pem"

    @property
    def previous(self) -> Path:
        return self.folder / "previous-cert.pem"

    def bundle(self) -> list[str]:
        return [path.read_text() for path in (self.certificate, self.next, self.previous) if path.exists()]


@dataclass(frozen=True, slots=True)
class Authority:
    """Who issues certificates: `bundle` is what hosts trust. The key is read when something must be signed, not before."""

    bundle: tuple[str, ...]
    key: Path | None
    requests: Path

    @classmethod
    def load(cls, declared: Authorities, name: str) -> Authority:
        """Of one that has not been made yet, an empty bundle."""
        own = Path(declared.folder, name)
        supplied = (declared.supplied or {}).get(name)  # type: ignore[call-overload]  # a Name is found by its text
        if supplied is None:
            files = Files(own)
            return cls(tuple(files.bundle()), files.key, own)
        path = Path(supplied.certificate)
        try:
            bundle = tuple(x509.split(path.read_text()))
        except (OSError, ValueError) as error:
            raise ConflictError(f"authority {name}: {path}: {error}") from None
        if not bundle:
            raise ConflictError(f"authority {name}: {path} holds no certificate")
        return cls(bundle, None if supplied.key is None else Path(supplied.key), own)

    def issuer_of(self, certificate: str) -> str:
        """The fingerprint of the one that signed it; of a certificate from elsewhere, nothing."""
        return next((x509.fingerprint(one) for one in self.bundle if x509.is_issued_by(certificate, one)), "")

    def has_issued(self, certificate: str) -> bool:
        """Whether the one in charge signed it, the first; where the key is elsewhere, whichever of them."""
        signers = self.bundle if self.key is None else self.bundle[:1]
        return any(x509.is_issued_by(certificate, signer) for signer in signers)

    def ends(self) -> datetime | None:
        """When the one in charge does; nothing while there is none."""
        held = x509.read(self.bundle[0]) if self.bundle else None
        return held.ends if held is not None else None

    def issue(
        self,
        request: str,
        fields: Mapping[str, str],
        wanted: Wanted,
        *,
        bits: int,
        label: str,
        passphrase: str,
        now: datetime,
    ) -> str | None:
        """The certificate for a request of the host, or nothing while somebody else has yet to sign it.

        `bits` is the least length of the key.
        """
        public_key = x509.requested_key(request, bits)
        if self.key is None:
            return self._elsewhere(request, public_key, label)
        key = x509.Key.load(_read(self.key), passphrase, str(self.key))
        signer = x509.read(self.bundle[0])
        if signer is None or signer.public_key != key.public_key():
            raise ConflictError(f"{self.key} is not the key of the first certificate that its authority has")
        return x509.issue(
            key, self.bundle[0], public_key, fields, wanted.names, usage=wanted.usage, now=now, ends=wanted.ends
        )  # fmt: skip

    def _elsewhere(self, request: str, public_key: str, label: str) -> str | None:
        _write(self.requests / "requests" / f"{label}.pem", request.encode(), 0o644)
        issued = self.requests / "issued" / f"{label}.pem"
        held = x509.read(issued.read_text()) if issued.exists() else None
        return issued.read_text() if held is not None and held.public_key == public_key else None


# The life of an authority that is made here


def first_step(declared: Authorities, name: str, life: Life, now: datetime) -> Step | None:
    """What is to be done before hosts are looked at."""
    files = Files(Path(declared.folder, name))
    if not files.certificate.exists():
        if files.key.exists():
            raise ConflictError(
                f"{files.key} is there without cacert.pem: put that back, or remove the key to have both made"
            )
        return "made"
    held = x509.read(files.certificate.read_text())
    if held is None:
        raise ConflictError(f"{files.certificate} is no certificate; put back the one that belongs to cakey.pem")
    if files.next.exists() or files.previous.exists():
        return None
    too_old = life.since is not None and held.begins < life.since - x509.BACKDATED
    return "announced" if too_old or held.ends - now < timedelta(days=life.renew_before) else None


def next_step(
    declared: Authorities, name: str, trusts: Collection[Collection[str]], issuers: Collection[Collection[str]]
) -> Step | None:
    """What all hosts are ready for. `trusts` are the fingerprints each trusts, `issuers` those its certificates are from."""
    files = Files(Path(declared.folder, name))
    if files.next.exists():
        new = x509.fingerprint(files.next.read_text())
        return "put in charge" if all(new in held for held in trusts) else None
    if files.previous.exists():
        current = x509.fingerprint(files.certificate.read_text())
        return "forgotten" if all(set(held) <= {current} for held in issuers) else None
    return None


def take(step: Step, declared: Authorities, name: str, *, days: int, passphrase: str, now: datetime) -> None:
    """Does one step; after one that broke off, `finish` brings the files in order."""
    files = Files(Path(declared.folder, name))
    match step:
        case "made":
            _make(files.certificate, files.key, declared, name, days, passphrase, now)
        case "announced":
            _make(files.next, files.next_key, declared, name, days, passphrase, now)
        case "put in charge":
            _write(files.previous, files.certificate.read_bytes(), 0o644)
            durable.move(files.next_key, files.key)
            durable.move(files.next, files.certificate)
        case "forgotten":
            files.previous.unlink()


def finish(declared: Authorities, name: str) -> None:
    """Of two files that take over, the key goes first: a certificate without its own is one that was left behind."""
    files = Files(Path(declared.folder, name))
    if files.next.exists() and not files.next_key.exists():
        durable.move(files.next, files.certificate)


def _make(
    certificate: Path, key: Path, declared: Authorities, name: str, days: int, passphrase: str, now: datetime
) -> None:
    made = x509.Key.make(declared.bits)
    # Two authorities of one name would be mistaken for each other while one takes over from the other.
    common_name = f"dos.vm {name} CA {now:%Y-%m-%d %H:%M:%S}"
    fields = {**subject_fields(declared), "common_name": common_name}
    _write(key, made.sealed(passphrase), 0o600)
    _write(certificate, x509.make_authority(made, fields, now=now, days=days).encode(), 0o644)


def subject_fields(declared: Authorities) -> dict[str, str]:
    held = encode(declared.subject) if declared.subject is not None else {}
    return {name: str(value) for name, value in held.items() if value}


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConflictError(f"the authority's key cannot be read: {error}") from None


def _write(path: Path, data: bytes, mode: int) -> None:
    """All of it or nothing, and a key is never readable by others, not even while it is written."""
    durable.folder(path.parent, 0o700)
    durable.write(path, data, mode)
