# SPDX-License-Identifier: GPL-3.0-or-later
"""A refusal, as the result of a task. Apart from `site`, whose imports cost more than a task that reads no site."""

from __future__ import annotations

from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError, DosVmError


def refused(error: DosVmError, *, read: bool = False) -> dict[str, Any]:
    """A failed task that lists every problem. `read` is whether hosts were read by then."""
    if not isinstance(error, DeclarationError):
        return {"failed": True, "msg": str(error)}
    problems = [str(problem) for problem in error.problems]
    head = f"{len(problems)} problem{'' if len(problems) == 1 else 's'} in the site; no host was {'changed' if read else 'contacted'}"
    return {"failed": True, "msg": "\n".join([head, *problems])}
