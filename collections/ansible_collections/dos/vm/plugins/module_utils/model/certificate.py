# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of a host, and the authorities that issue them, as they are declared (TLS-T1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .types import AbsolutePath, Name

Usage = Literal["server", "client"]


@declaration
class Subject:
    """Whom a certificate speaks of, besides its common name, which is that of the host or the authority."""

    country: str | None = option("Two letters.", spec="TLS-06", default=None)
    state: str | None = option("State or province.", spec="TLS-06", default=None)
    locality: str | None = option("Town.", spec="TLS-06", default=None)
    organisation: str | None = option("Organisation.", spec="TLS-06", default=None)
    unit: str | None = option("Part of the organisation.", spec="TLS-06", default=None)
    email: str | None = option("Whom to write to.", spec="TLS-06", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.country is not None and (len(self.country) != 2 or not self.country.isalpha()):
            yield "country", f"{self.country!r} is not a country, write its two letters, like CN"


@declaration
class Holding:
    """One certificate on a host, with its key and the authorities it is checked against."""

    authority: Name = option("The authority that issues it and is trusted where it is used.", spec="TLS-11")
    usage: Usage = option("Whether its owner is called or calls.", spec="TLS-T1")
    certificate: AbsolutePath = option("Where the certificate is.", spec="TLS-03")
    key: AbsolutePath = option("Where its private key is; it never leaves the host.", spec="TLS-03")
    trusted: AbsolutePath = option("Where the authorities' certificates are.", spec="TLS-03")
    group: str = option("The group that may read the key besides root.", default="root")


@declaration
class Supplied:
    """An authority of your own, instead of one that is made."""

    certificate: AbsolutePath = option(
        "File on the controller with its certificate, and with those of all authorities to be trusted.", spec="TLS-01"
    )
    key: AbsolutePath | None = option(
        "File on the controller with its key. Without one, signing requests are left in the folder for somebody else to sign.",
        spec="TLS-01",
        default=None,
    )


@declaration
class Authorities:
    """Which authorities there are, and where their files are on the controller."""

    folder: AbsolutePath = option("Folder on the controller with a folder for each authority.", spec="TLS-T1.2")
    supplied: dict[Name, Supplied] | None = option(
        "Authorities that are not made but given, by name.", spec="TLS-01", default=None
    )
    subject: Subject | None = option("What subjects say besides the common name.", spec="TLS-06", default=None)
    bits: int = option("Length of keys that are made.", default=3072, low=2048, high=8192)


@declaration
class AuthorityRun:
    """What the authorities should be like."""

    names: tuple[Name, ...] = option("The authorities.", spec="TLS-11", example=["libvirt", "qemu"])
    days: int = option("How long an authority that is made is valid.", default=3650, low=2, high=36500)
    renew_before: int = option(
        "How many days before its end an authority is replaced.", spec="TLS-10", default=400, low=1
    )
    since: str | None = option(
        "A day; authorities made before it are replaced.", spec="TLS-10", default=None, example="2026-11-21"
    )
    plain_key: bool = option("Whether the key may be kept without a pass phrase.", spec="TLS-06", default=False)
    advance: bool = option(
        "Take the next step of a replacement, if all hosts have done theirs in this play.", default=False
    )


@declaration
class CertificateRun:
    """What certificates a host should hold."""

    holdings: tuple[Holding, ...] = option("The certificates.", spec="TLS-T1")
    names: tuple[str, ...] = option(
        "Names and addresses by which others reach the host; what it calls itself is added.", spec="TLS-05", default=()
    )
    days: int = option("How long a certificate is valid.", spec="TLS-10", default=365, low=2, high=3650)
    renew_before: int = option("How many days before its end it is issued anew.", spec="TLS-10", default=60, low=1)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.renew_before >= self.days:
            yield "renew_before", f"{self.renew_before} days are not less than the {self.days} a certificate is valid"
        for index, holding in enumerate(self.holdings):
            if any(
                other.trusted == holding.trusted and other.authority != holding.authority for other in self.holdings
            ):
                yield (
                    f"holdings[{index}].trusted",
                    f"{holding.trusted} would trust two authorities, give each its own file",
                )


@declaration
class Asked:
    """A new key with a request to sign it."""

    key: AbsolutePath = option("Where the key will be; until it has a certificate it lies beside, with `.new`.")
    group: str = option("The group that may read the key besides root.", default="root")
    subject: str = option("The subject, as `openssl req` takes it.", example="/O=Example/CN=h1")
    names: tuple[str, ...] = option("Names and addresses.", default=())
    usage: Usage = option("Whether its owner is called or calls.")
    bits: int = option("Length of the key.", default=3072)


@declaration
class Installed:
    """A file for the host; a certificate brings the key that was made for it into its place."""

    path: AbsolutePath = option("Where it goes.")
    text: str = option("What is in it.")
    key: AbsolutePath | None = option("The key that belongs to it.", default=None)


@declaration
class FilesRun:
    """One call of the module that touches files."""

    holdings: tuple[Holding, ...] = option("The certificates; what is there of them is the answer.", spec="TLS-T1")
    asked: tuple[Asked, ...] = option("Keys to be made.", default=())
    installed: tuple[Installed, ...] = option("Files to be written.", default=())
    restore: bool = option("Give files the owner and mode they should have.", default=False)
