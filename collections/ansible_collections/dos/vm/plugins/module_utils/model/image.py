# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be asked of a disk file: that it be there, in another format, on another base, changed inside.

These are deeds, not states: nobody declares that an image has been compressed. A disk is named by its path, or as `POOL/VOLUME`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .types import AbsolutePath, ByteSize, Checksum, Name
from .volume import RETIRED, Format

USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
MODE = re.compile(r"0?[0-7]{3,4}")


class DiskName(str):
    """A disk of a host: an absolute path, or a volume as `POOL/VOLUME`."""

    __slots__ = ()

    def __new__(cls, text: str) -> DiskName:
        if str(text).startswith("/"):
            return super().__new__(cls, AbsolutePath(text))
        pool, slash, volume = str(text).partition("/")
        if not slash:
            raise ValueError(f"{str(text)[:60]!r} is neither a path nor a volume, write /srv/disk.qcow2 or POOL/VOLUME")
        return super().__new__(cls, f"{Name(pool)}/{Name(volume)}")

    @property
    def is_path(self) -> bool:
        return self.startswith("/")


@declaration
class Convert:
    """A disk written anew: in another format, without what it does not need, without what it is layered over."""

    source: DiskName = option("Disk to read, a path or V(POOL/VOLUME).", spec="CONV-01")
    destination: DiskName | None = option(
        "Disk to write, which must not be there yet. The source itself when not given: it is replaced when the result is proven.",
        spec="CONV-07",
        default=None,
    )
    format: Format = option("Format to write.", spec="CONV-01", default="qcow2", instead=RETIRED)
    source_format: Format | None = option(
        "Format of the source; what its header says when not given, and it must not say otherwise.",
        spec="CONV-01",
        default=None,
        instead=RETIRED,
    )
    compress: bool = option("Compress: smaller, slower to write and to read.", spec="CONV-04", default=False)
    sparsify: bool = option(
        "Leave out what the file systems in it have free. Takes libguestfs, and a system it understands.",
        spec="CONV-03",
        default=False,
    )
    flatten: bool = option(
        "Take in what the source is layered over, so that it stands alone.", spec="CONV-05", default=False
    )
    capacity: ByteSize | None = option(
        "Larger logical size of the result; file systems in it grow in the guest.",
        spec="CONV-06",
        default=None,
        low=512,
    )
    keep: bool = option("Keep the original beside the result as V(NAME.original).", spec="CONV-07", default=False)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.compress and self.format not in ("qcow2", "qcow", "vmdk"):
            yield "compress", f"{self.format} knows no compression, write format: qcow2 (CONV-04)"
        if self.keep and self.destination is not None:
            yield "keep", "is for a disk that is replaced; with a destination the source stays as it is"
        if self.destination == self.source:
            yield "destination", "is the source: leave it out to replace that"
        if self.capacity is not None and self.format not in ("raw", "qcow2", "qed"):
            yield "capacity", f"a {self.format} file cannot be made larger, write format: qcow2 or raw (CONV-06)"


@declaration
class Rebase:
    """A layer moved onto another base, with what it holds unchanged."""

    disk: DiskName = option("The layer, a path or V(POOL/VOLUME).", spec="CONV-01")
    base: DiskName = option("What it is to be layered over, a path or V(POOL/VOLUME).", spec="VSNP-01")
    base_format: Format | None = option("Format of the base, as its header must say.", default=None, instead=RETIRED)
    keep: bool = option("Keep the original beside the result as V(NAME.original).", spec="CONV-07", default=False)


@declaration
class EditedFile:
    """A file to write inside a disk."""

    path: AbsolutePath = option("Where in the guest.", spec="EDIT-04")
    content: str = option("What is in it.")
    mode: str = option("Octal mode.", default="0644")

    def check(self) -> Iterator[tuple[str, str]]:
        if not MODE.fullmatch(self.mode):
            yield "mode", f"{self.mode!r} is not an octal mode, write one like '0644'"


@declaration
class Edit:
    """A disk changed inside, while no machine has it."""

    disk: DiskName = option("Disk, a path or V(POOL/VOLUME).", spec="EDIT-01")
    format: Format | None = option("Format, as its header must say.", spec="IMG-11", default=None, instead=RETIRED)
    seal: bool = option(
        "Take out what makes a machine itself: names of cards, machine-id, host keys, leases, logs, the state of cloud-init.",
        spec="CONV-11",
        default=False,
    )
    hostname: Name | None = option("Name of the guest.", spec="EDIT-04", default=None)
    files: tuple[EditedFile, ...] = option("Files to write.", spec="EDIT-04", default=())
    delete: tuple[AbsolutePath, ...] = option("Files to remove; patterns are the shell's.", spec="EDIT-04", default=())
    commands: tuple[str, ...] = option(
        "Shell scripts to run inside, on a system of the host's architecture.", spec="EDIT-04", default=()
    )
    passwords: dict[str, Name] | None = option(
        "Passwords to set: by user, the name of the secret among C(secrets).", spec="EDIT-04", default=None
    )
    keep: bool = option("Keep the original beside the result as V(NAME.original).", spec="CONV-07", default=False)

    def check(self) -> Iterator[tuple[str, str]]:
        if not (self.seal or self.hostname or self.files or self.delete or self.commands or self.passwords):
            yield "", "nothing to do: write seal, hostname, files, delete, commands or passwords"
        for user in self.passwords or {}:
            if not USER.fullmatch(user):
                yield f"passwords.{user}", "is not the name of a user"


@declaration
class ImageFile:
    """A file with the content of a disk or of a medium, on a host."""

    file: AbsolutePath = option("Where it is on the host.", spec="IMG-T1.9")
    state: Literal["present", "absent"] = option(
        "Whether the file is there. V(absent) deletes it, which is another thing than no longer declaring it.",
        spec="LIMIT-46",
        default="present",
    )
    format: Format | None = option(
        "What its header must say; V(raw) for ISO files. Required with O(state=present).",
        spec="IMG-11",
        default=None,
        instead=RETIRED,
    )
    checksum: Checksum | None = option(
        "What its content must be, V(sha256:) and 64 hexadecimal digits. Required with O(source).",
        spec="IMG-13",
        default=None,
    )
    source: AbsolutePath | None = option(
        "The file on the controller, sent to the host where it is not there yet. What was cut off is gone on with.",
        spec="LIMIT-17",
        default=None,
    )

    at_most: ByteSize | None = option(
        "Size that it was declared with and that counts for a quota; a larger file is refused.",
        spec="IMG-10",
        default=None,
        low=0,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.state == "present" and self.format is None:
            yield "format", "is required, write what qemu-img info says, or raw for an ISO file"
        if self.source is not None and self.checksum is None:
            yield "checksum", "is required with a source, write sha256: and what sha256sum says of it"


@declaration
class Upload:
    """What the action plugin of `image` tells its module."""

    size: int | None = option("Bytes of the source; the action plugin says it.", default=None, low=0)
    here: bool = option(
        "Whether controller and host are one machine, and the source a file of it; the action plugin says it.",
        default=False,
    )
    finish: bool = option("Whether all of the source has arrived; the action plugin says it.", default=False)


@declaration
class Patience:
    """What only the action plugins of these modules say."""

    seconds: float = option(
        "Seconds that one call waits for the work to end before it tells how far it is.", default=60.0
    )


@declaration
class SharedPath:
    """A directory that several hosts say they share."""

    path: AbsolutePath = option("The directory; it need not exist yet.", spec="POOL-20")
    mark: Name = option("A word that is new in every run.", spec="POOL-20")
    state: Literal["left", "seen", "gone"] = option(
        "V(left) leaves a note, V(seen) fails unless the note is there, V(gone) removes it.", spec="POOL-20"
    )
    folder: AbsolutePath | None = option(
        "For V(seen), where the note was left, as the host that left it returned it.", default=None
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.state == "seen" and self.folder is None:
            yield "folder", "is required to look for a note, write what the host that left it returned"


@declaration
class BlockCopy:
    """A disk of a running machine, copied to another volume while the guest writes."""

    domain: Name = option("The machine, which runs.", spec="MIG-11")
    target: str = option("The disk, as its machine names it, such as V(vda).", spec="DISK-T1.6")
    destination: DiskName = option(
        "Volume it goes to, V(POOL/VOLUME), which is there and as large: declare it, and let the playbook dos.vm.site make it.",
        spec="VOL-T1.2",
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.destination.is_path:
            yield "destination", "is a path, write POOL/VOLUME"
