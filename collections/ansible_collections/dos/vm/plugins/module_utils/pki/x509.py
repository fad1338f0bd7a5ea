# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates read, made and signed: the one file that knows `cryptography`. Runs on the controller only.

ansible-core stands on the same library, so wherever a playbook can be run it is there. A private key is only ever an object
in memory or an encrypted file; nothing here returns one as text but `sealed()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..errors import ConflictError
from .certificate import Certificate, is_address

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
    from cryptography.hazmat.primitives.serialization import pkcs12
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
else:
    try:  # guarded for those who only want to read the documentation
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import pkcs12
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError:
        x509 = None

#: Clocks of hosts differ; a certificate that is not valid yet is refused.
BACKDATED = timedelta(hours=1)
#: The fields of TLS-06, in the order in which a name is written.
SUBJECT = {
    "country": "COUNTRY_NAME", "state": "STATE_OR_PROVINCE_NAME", "locality": "LOCALITY_NAME",
    "organisation": "ORGANIZATION_NAME", "unit": "ORGANIZATIONAL_UNIT_NAME", "common_name": "COMMON_NAME",
    "email": "EMAIL_ADDRESS",
}  # fmt: skip


class Key:
    """A private RSA key. libvirt and QEMU want certificates fit for key encipherment, which only RSA keys are."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    @classmethod
    def make(cls, bits: int) -> Key:
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=bits))

    @classmethod
    def load(cls, data: bytes, passphrase: str, where: str) -> Key:
        """The key in PEM `data`; raises `ConflictError` when the pass phrase is not the one, or it is no RSA key."""
        try:
            key = serialization.load_pem_private_key(data, passphrase.encode() or None)
        except TypeError:
            which = "is not encrypted, and a pass phrase is given" if passphrase else "wants its pass phrase"
            raise ConflictError(f"{where} {which}") from None
        except (ValueError, UnsupportedAlgorithm):
            raise ConflictError(f"{where} cannot be read: not PEM, or not this pass phrase") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ConflictError(f"{where} is not an RSA key")
        return cls(key)

    def sealed(self, passphrase: str) -> bytes:
        """As PEM, encrypted unless the pass phrase is empty."""
        how = (
            serialization.BestAvailableEncryption(passphrase.encode())
            if passphrase
            else serialization.NoEncryption()
        )  # fmt: skip
        return self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)

    def public_key(self) -> str:
        return _pem(self._key.public_key())

    def sign(self, builder: x509.CertificateBuilder) -> str:
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    def packed(self, name: str, certificate: str, authorities: str, password: str) -> bytes:
        """With its certificate and the authorities' as PKCS#12 (TLS-08)."""
        return pkcs12.serialize_key_and_certificates(
            name.encode(), self._key, x509.load_pem_x509_certificate(certificate.encode()),
            x509.load_pem_x509_certificates(authorities.encode()),
            serialization.BestAvailableEncryption(password.encode()),
        )  # fmt: skip


# Reading


def read(pem: str) -> Certificate | None:
    """What the first certificate in `pem` says; nothing when there is none that can be read."""
    try:
        held = x509.load_pem_x509_certificate(pem.encode())
        extensions = held.extensions
    except ValueError:
        return None
    return Certificate(
        subject=held.subject.rfc4514_string(), issuer=held.issuer.rfc4514_string(), names=_names(extensions),
        usage=_usage(extensions), begins=held.not_valid_before_utc, ends=held.not_valid_after_utc,
        public_key=_pem(held.public_key()),
    )  # fmt: skip


def _names(extensions: x509.Extensions) -> frozenset[str]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    found: list[str] = list(names.get_values_for_type(x509.DNSName))
    return frozenset(found + [str(address) for address in names.get_values_for_type(x509.IPAddress)])


def _usage(extensions: x509.Extensions) -> str:
    words = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    return " and ".join(words.get(usage, usage.dotted_string) for usage in usages)


def split(bundle: str) -> list[str]:
    """The certificates of a bundle, each as PEM of its own."""
    if "BEGIN CERTIFICATE" not in bundle:
        return []
    held = x509.load_pem_x509_certificates(bundle.encode())
    return [one.public_bytes(serialization.Encoding.PEM).decode() for one in held]


def fingerprint(pem: str) -> str:
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()


def is_issued_by(pem: str, authority: str) -> bool:
    """Whether the authority's key signed it."""
    held = x509.load_pem_x509_certificate(pem.encode())
    try:
        held.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def requested_key(request: str, bits: int) -> str:
    """The public key of a signing request, whose signature shows that the asker has the private one.

    Raises `ConflictError` for one that is no RSA key of at least so many bits.
    """
    try:
        held = x509.load_pem_x509_csr(request.encode())
    except ValueError:
        raise ConflictError("what the host asks to be signed is no signing request") from None
    if not held.is_signature_valid:
        raise ConflictError("what the host asks to be signed was not made with the key it names")
    public = _pem(held.public_key())
    size = _public(public).key_size
    if size < bits:
        raise ConflictError(
            f"the host asks for a certificate of a key of {size} bits, and tls_key_bits is {bits}: remove that key from the"
            " host, and a new one is made"
        )
    return public


def _pem(key: CertificatePublicKeyTypes) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


# Making


def name(fields: Mapping[str, str]) -> x509.Name:
    """A subject from the fields of `SUBJECT`; empty ones are not said."""
    return x509.Name(
        [
            x509.NameAttribute(getattr(NameOID, oid), fields[field])
            for field, oid in SUBJECT.items()
            if fields.get(field)
        ]
    )


def spelled(fields: Mapping[str, str]) -> str:
    return name(fields).rfc4514_string()


def make_authority(key: Key, fields: Mapping[str, str], *, now: datetime, days: int) -> str:
    """A certificate that `key` issues to itself, fit to sign those of hosts and of nobody who signs further ones."""
    public = _public(key.public_key())
    subject = name(fields)
    builder = _builder(subject, subject, public, now, now + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
    return key.sign(builder)


def issue(
    signer: Key, authority: str, public_key: str, fields: Mapping[str, str], names: frozenset[str], *,
    usage: str, now: datetime, ends: datetime,
) -> str:  # fmt: skip
    """A certificate for `public_key`, of `usage` "server" or "client", signed by the authority's key."""
    issuer = x509.load_pem_x509_certificate(authority.encode())
    purpose = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}[usage]
    issuers_key = issuer.public_key()
    assert isinstance(issuers_key, rsa.RSAPublicKey)  # Key.load took no other
    builder = _builder(name(fields), issuer.subject, _public(public_key), now, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage("digital_signature", "key_encipherment"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuers_key), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
    return signer.sign(builder)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: rsa.RSAPublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - BACKDATED).not_valid_after(ends)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _public(pem: str) -> rsa.RSAPublicKey:
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise ConflictError("the host's key is not an RSA key: remove it, and a new one is made")
    return key


def _general(names: frozenset[str]) -> list[x509.GeneralName]:
    """Names first: some programs look at the first entry only, and people at any rate do."""
    hosts: list[x509.GeneralName] = [x509.DNSName(each) for each in sorted(names) if not is_address(each)]
    return hosts + [x509.IPAddress(ip_address(each)) for each in sorted(names) if is_address(each)]


def _key_usage(*usages: str) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{usage: usage in usages for usage in every})


def as_argument(fields: Mapping[str, str]) -> str:
    """A subject as `openssl req -subj` takes it."""
    return "".join(
        f"/{attribute.rfc4514_attribute_name}={_escaped(str(attribute.value))}"
        for attribute in name(fields)
        if attribute.oid != NameOID.EMAIL_ADDRESS
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("/", "\\/").replace("+", "\\+")
