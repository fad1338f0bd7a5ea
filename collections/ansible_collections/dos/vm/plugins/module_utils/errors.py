# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything the library raises, sorted by who must act.

    DosVmError
    ├── DeclarationError     the operator: paths, what is wrong, what to write instead      terminal
    ├── ConflictError        the operator: the host has such an object and it is not ours   terminal
    ├── PermissionNeeded     the operator: the plan interrupts or destroys, and may not     terminal
    ├── MissingLibraryError  the operator: what to install                                  terminal
    ├── HypervisorError      the host: the operation in words, libvirt's code and text      retryable
    │   ├── Unanswered       the guest: it was asked and has not answered in time           retryable
    │   └── VolumeExists     another host or a person: made the file since the host was read  retryable
    ├── VerificationError    the host or us: applied, and still different                   retryable
    ├── StoreError           the store: the operation in words, what the database said      retryable
    └── InternalError        us: a promise between two layers was broken                    terminal

The library raises and never ends a process; each front end turns a `DosVmError` into a task failure or a log line in
one place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value was written: a file and, where known, line and column (both from 1)."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a declaration: where it is, and a sentence that says what to write instead."""

    path: str
    text: str
    origin: Origin | None = None

    def under(self, prefix: str) -> Problem:
        """The same problem, seen from a declaration that holds this one at `prefix`."""
        return Problem(join(prefix, self.path), self.text, self.origin)

    def __str__(self) -> str:
        subject = f"{self.path}: {self.text}" if self.path else self.text
        return f"{self.origin}: {subject}" if self.origin else subject


def join(prefix: str, path: str) -> str:
    """Join two halves of a path: `join("a.b", "[0].c")` is `a.b[0].c`."""
    if not prefix or not path:
        return prefix or path
    return prefix + path if path.startswith("[") else f"{prefix}.{path}"


def spell(steps: Iterable[str | int]) -> str:
    """A path by its steps: `spell(("dos_instances", "web", "disks", 0))` is `dos_instances.web.disks[0]`."""
    spelled = ""
    for step in steps:
        spelled = join(spelled, f"[{step}]" if isinstance(step, int) else step)
    return spelled


def printable(text: str) -> str:
    """Text from outside on one line, safe for a terminal and for a comment: what cannot be printed is escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


NEAR = 0.65  # how alike two words are, of 1, before one is taken for the other mistyped; `kye` is 0.67 like `key`


def meant(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """What to write instead of a word that nobody knows, as the end of a sentence: the nearest that is known, or `otherwise`."""
    close = get_close_matches(word, list(known), n=1, cutoff=NEAR)
    return f"did you mean {close[0]}?" if close else otherwise


class DosVmError(Exception):
    """The root; catch it in a front end and nowhere else."""

    retryable = False


class DeclarationError(DosVmError):
    """What was declared cannot be meant. Carries every problem found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def at(cls, path: str, text: str, origin: Origin | None = None) -> DeclarationError:
        return cls((Problem(path, text, origin),))


class ConflictError(DosVmError):
    """The host has an object of that name which is not ours and differs from the declaration."""


class PermissionNeeded(DosVmError):
    """The plan would interrupt or destroy something, and nobody allowed it."""


class MissingLibraryError(DosVmError):
    """A library that the host must have is not there; the message names the package."""


class HypervisorError(DosVmError):
    """libvirt refused or failed. `operation` is what we tried, in words; `code` is libvirt's `VIR_ERR_*` number."""

    retryable = True

    def __init__(self, operation: str, text: str, code: int | None = None) -> None:
        self.operation, self.text, self.code = operation, text, code
        super().__init__(f"{operation}: {text}")


class Unanswered(HypervisorError):
    """The guest was asked for something and has not done it in time. Nothing is lost: it may still, and can be asked again."""


class VolumeExists(HypervisorError):
    """A volume that was to be created exists already: another host or a person made its file since the host was read."""


class VerificationError(DosVmError):
    """Every action succeeded and the host still differs from its declaration."""

    retryable = True


class StoreError(DosVmError):
    """The store cannot be used. `operation` is what we tried, in words; the text never has a password in it."""

    def __init__(self, operation: str, text: str, *, retryable: bool = False) -> None:
        self.operation, self.text, self.retryable = operation, text, retryable
        super().__init__(f"{operation}: {text}")


class InternalError(DosVmError):
    """A layer broke its promise to another; this is a defect of dos.vm."""
