# SPDX-License-Identifier: GPL-3.0-or-later
"""`<secret>`: see https://libvirt.org/formatsecret.html.

libvirt keeps no name of a secret and never hands a private value out again (SECO-02). So the end of the description has the
name, and a digest of the value, slow to compute and salted with the secret's UUID: `[dos.vm:NAME:DIGEST]`.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..model.secret import Secret
from .build import E
from .common import pruned
from .shape import Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

# Of a secret for `netfs` libvirt holds the note alone: there is no such usage, and what mounts reads a file.
USAGE = {"volume": "volume", "iscsi": "target", "ceph": "name", "tls": "name", "vtpm": "name"}
NOTE = re.compile(r"^(?P<text>.*?) ?\[dos\.vm:(?P<name>[^:\]]+)(:(?P<digest>[0-9a-f]+))?\]$", re.DOTALL)


class Note(NamedTuple):
    """A description taken apart: as it was declared, and what we noted, each `None` when there is none."""

    text: str | None
    name: str | None = None
    digest: str | None = None


def render(secret: Secret, digest: str | None = None) -> Element:
    """The XML of a declared secret; `digest` says which value it has been given."""
    note = f"[dos.vm:{':'.join(filter(None, (secret.name, digest)))}]"
    noted = " ".join(filter(None, (secret.description, note)))
    return E(
        "secret",
        E("description", noted),
        _usage(secret),
        ephemeral=False,
        private=True,
    )


def _usage(secret: Secret) -> Element | None:
    tag = USAGE.get(secret.usage_type)
    return None if tag is None else E("usage", E(tag, secret.usage or secret.name), type=secret.usage_type)


SHAPE = shape(
    "secret",
    Attr("ephemeral", default="no"),
    Attr("private"),
    shape("uuid", computed=True),
    shape("description"),
    shape(
        "usage",
        Attr("type", field="usage_type"),
        *(shape(tag, field="usage") for tag in ("volume", "target", "name")),
        field=".",
    ),
)


def parse(element: Element) -> dict[str, Any]:
    """What a `Secret` must declare to render like `element`; one that is not ours has its usage for a name."""
    usage = element.find("usage")
    kind = None if usage is None else usage.get("type")
    note = read_description(element.findtext("description"))
    held = None if usage is None or kind is None else usage.findtext(USAGE[kind])
    return pruned(
        name=note.name or held,
        usage_type="netfs" if usage is None and note.name else kind,
        usage=held,
        description=note.text,
    )


def read_description(text: str | None) -> Note:
    """The description as it was declared, and what we noted at its end."""
    noted = NOTE.match(text or "")
    return Note(noted["text"] or None, noted["name"], noted["digest"]) if noted else Note(text)


def digest(value: bytes, salt: str) -> str:
    """What is remembered of a value: 128 bits of scrypt, hexadecimal; `salt` is the secret's UUID."""
    return hashlib.scrypt(value, salt=salt.encode(), n=2**13, r=8, p=1, dklen=16).hex()
