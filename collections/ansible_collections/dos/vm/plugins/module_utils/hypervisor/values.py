# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of secrets, where libvirt is to have them: each is looked up by name, in what the run was given."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import DeclarationError
from ..xml.build import parse, to_text

REFERENCE = "secret:"  # what a console's password is in a definition, before its name


def value_of(name: str, secrets: Mapping[str, bytes]) -> bytes:
    """The value of a secret by name; a `DeclarationError` when this run did not bring it along."""
    if name not in secrets:
        raise DeclarationError.at(
            f"dos_secrets.{name}.value", "is needed now and this run has none: give it, from a vault"
        )
    return secrets[name]


def with_secrets(text: str, secrets: Mapping[str, bytes]) -> str:
    """A definition with the passwords of its consoles, which are `secret:NAME` until here."""
    root = parse(text)
    for graphics in root.iter("graphics"):
        password = graphics.get("passwd", "")
        if password.startswith(REFERENCE):
            graphics.set("passwd", _password(password.removeprefix(REFERENCE), secrets))
    return to_text(root)


def _password(name: str, secrets: Mapping[str, bytes]) -> str:
    """The value of a secret as XML can carry it; what is raised does not tell it."""
    value = value_of(name, secrets)
    if (text := value.decode(errors="ignore")).isprintable() and text.encode() == value:
        return text
    raise DeclarationError.at(f"dos_secrets.{name}.value", "is the password of a console and must be printable text")
