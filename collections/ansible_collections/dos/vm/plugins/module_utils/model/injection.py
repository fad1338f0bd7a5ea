# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written into a machine's own disk before it starts for the first time."""

from __future__ import annotations

from collections.abc import Iterator

from .declaration import declaration, option
from .seed import REFERENCE
from .types import DeviceName, Name

MARKER = "/var/lib/dos-vm/injected"  # in the guest: who has it was set up, whatever is known of it outside
PARTITION = "Partition that the guest's root is on, the first being 1; 0 for a disk without partitions. Looked for when not given."


@declaration
class Injection:
    """Files, keys and a password, written into a disk by libguestfs."""

    disk: DeviceName = option("Target of the disk, which is a volume of the machine.", spec="INJ-10", example="vda")
    partition: int | None = option(PARTITION, spec="INJ-02", default=None, low=0, high=128)
    files: dict[str, str] | None = option(
        "Files by path, from the guest's root. `${secret:NAME}` in one becomes the value of that secret.",
        spec="INJ-07",
        default=None,
        secret=True,
    )
    append: dict[str, str] | None = option(
        "Texts by path, written at the ends of files, which need not be there.",
        spec="INJ-07",
        default=None,
        secret=True,
    )
    keys: tuple[str, ...] = option("SSH public keys that may log in as root.", spec="INJ-03", default=())
    password: Name | None = option(
        "Secret that holds root's password; its hash is written.", spec="INJ-03", default=None
    )
    network: str | None = option("The guest's `/etc/network/interfaces`.", spec="INJ-06", default=None)
    metadata: str | None = option("The guest's `/meta.js`, JSON.", spec="INJ-03", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        for name in ("files", "append"):
            for path in getattr(self, name) or {}:
                if (wrong := refusal(path)) is not None:
                    yield f"{name}.{path}", wrong
        for path in sorted({*(self.files or {})} & {*(self.append or {})}):
            yield f"append.{path}", "is written whole by files already, leave out one of them"

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.files or self.append or self.keys or self.password or self.network or self.metadata)

    def secrets(self) -> list[Name]:
        """The secrets that it refers to."""
        texts = [*(self.files or {}).values(), *(self.append or {}).values()]
        named = {Name(found[1]) for text in texts for found in REFERENCE.findall(text)}
        return sorted(named | ({self.password} if self.password else set()))


def refusal(path: str) -> str | None:
    """What is wrong with the path of a file in a guest."""
    if not path.startswith("/") or path.endswith("/") or not {"..", "."}.isdisjoint(path.split("/")):
        return "is a path of the guest, write it from the root, like /etc/motd"
    if not path.isprintable():
        return "has characters that are not printed, write another name"
    return None
