# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command lines of labs and of kernels have in common: a name, one action, and an error in one line."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Generic, TypeVar

from .errors import LabError
from .group import Group

G = TypeVar("G", bound=Group)


class Program(Generic[G]):
    """A command line about one group; `of` makes the group from its name."""

    def __init__(self, of: type[G], description: str | None) -> None:
        self._of = of
        self.parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        text = f"which {of.CALLED}; several may be up side by side (default: {of.DEFAULT})"
        self.parser.add_argument("--name", default=of.DEFAULT, help=text)
        self._actions = self.parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(self, name: str, does: Callable[[G, argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        made = self._actions.add_parser(name, help=text, description=text)
        made.set_defaults(does=does)
        return made

    def down(self, names_up: Callable[[], list[str]]) -> None:
        """Adds the action that ends one group, or all of them."""

        def down(group: G, options: argparse.Namespace) -> None:
            for each in map(self._of, names_up()) if options.all else [group]:
                each.down()
                print(f"{each.CALLED} {each.name} is gone")

        self.action("down", down, "leave nothing of it").add_argument("--all", action="store_true", help="of all")

    def main(self) -> int:
        options = self.parser.parse_args()
        signal.signal(signal.SIGTERM, _terminated)
        try:
            options.does(self._of(options.name), options)
        except (LabError, RuntimeError, TimeoutError, OSError) as error:
            print(f"{self._of.CALLED}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        return 0


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that what was made is cleaned up as after Ctrl-C
