# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the controller can give a visit to a console: a password that nobody guesses, and a port that is free."""

from __future__ import annotations

import secrets
import socket
import string

from ansible_collections.dos.vm.plugins.module_utils.model.console import MOST

LETTERS = string.ascii_letters + string.digits


def new_password() -> str:
    """As long as VNC takes: 62 to the power of 8 of them, for some minutes."""
    return "".join(secrets.choice(LETTERS) for _ in range(MOST))


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
