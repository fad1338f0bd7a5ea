# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to this machine that is not called local, so that what is sent goes through pipes as it would to another host."""

from __future__ import annotations

from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: elsewhere
short_description: this machine, as if it were another
description: What the connection plugin V(local) does, under another name.
author: dos.vm contributors
version_added: 0.1.0
extends_documentation_fragment: [connection_pipelining]
"""


class Connection(Local):
    """Local in all but its name."""

    transport = "elsewhere"
