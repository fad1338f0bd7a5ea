# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to the operator's terminal. Hosts, guests and files choose parts of these texts: what a terminal acts on is escaped."""

from __future__ import annotations

from ansible.utils.display import Display as Terminal

from ansible_collections.dos.vm.plugins.module_utils.errors import printable


def safe(text: object) -> str:
    """Text with the line breaks and tabs that we write, and everything else printable."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in str(text).split("\n"))


class Display:
    """Ansible's display, for text from anywhere."""

    def __init__(self) -> None:
        self._terminal = Terminal()

    @property
    def verbosity(self) -> int:
        return int(self._terminal.verbosity)

    def display(self, text: object, color: str | None = None) -> None:
        self._terminal.display(safe(text), color=color)

    def v(self, text: object) -> None:
        self._terminal.v(safe(text))

    def warning(self, text: object) -> None:
        self._terminal.warning(safe(text))
