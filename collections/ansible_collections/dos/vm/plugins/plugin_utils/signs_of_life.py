# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller itself can see of a host that Ansible does not reach."""

from __future__ import annotations

import shutil
import subprocess


def answers_ping(address: str) -> bool:
    """Whether something answers at an address within a second. A controller without ping sees nothing."""
    ping = shutil.which("ping")
    if ping is None:
        return False
    done = subprocess.run(
        [ping, "-n", "-c", "1", "-W", "1", "--", address], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.returncode == 0
