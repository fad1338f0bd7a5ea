# SPDX-License-Identifier: GPL-3.0-or-later
"""`<secret>`: see https://libvirt.org/formatsecret.html.

libvirt never hands a private secret out again (SECO-02), so what tells whether its value is the declared one is a digest
of it, slow to compute and salted with the secret's UUID, that we keep at the end of the description.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from ..model.secret import Secret
from .build import E
from .common import pruned
from .shape import Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

USAGE = {"volume": "volume", "iscsi": "target", "ceph": "name", "tls": "name", "vtpm": "name"}
DIGEST = re.compile(r"^(?P<text>.*?) ?\[dos\.vm:(?P<digest>[0-9a-f]+)\]$", re.DOTALL)


def render(secret: Secret, digest: str | None = None) -> Element:
    """The XML of a declared secret; `digest` says which value it has been given."""
    noted = " ".join(filter(None, (secret.description, digest and f"[dos.vm:{digest}]")))
    return E(
        "secret",
        noted and E("description", noted),
        E("usage", E(USAGE[secret.usage_type], secret.usage or secret.name), type=secret.usage_type),
        ephemeral=False,
        private=True,
    )


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
    """What a `Secret` must declare to render like `element`, except for its name, which libvirt does not keep."""
    usage = element.find("usage")
    kind = None if usage is None else usage.get("type")
    text = read_description(element.findtext("description"))[0]
    return pruned(
        usage_type=kind,
        usage=None if usage is None or kind is None else usage.findtext(USAGE[kind]),
        description=text,
    )


def read_description(text: str | None) -> tuple[str | None, str | None]:
    """The description as it was declared, and the digest of the value, each `None` when there is none."""
    noted = DIGEST.match(text or "")
    return (noted["text"] or None, noted["digest"]) if noted else (text, None)


def digest(value: bytes, salt: str) -> str:
    """What is remembered of a value: 128 bits of scrypt, hexadecimal; `salt` is the secret's UUID."""
    return hashlib.scrypt(value, salt=salt.encode(), n=2**13, r=8, p=1, dklen=16).hex()
