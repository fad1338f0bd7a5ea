# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes what lies beside the tests importable, and the slow digest of a secret's value the work of one call."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosvm import apply
from dosvm.xml.secret import digest

HERE = Path(__file__).parent
for folder in ("laws", "plan", "xml"):
    sys.path.insert(0, str(HERE / folder))


@pytest.fixture(scope="session", autouse=True)
def remembered_digests() -> Iterator[None]:
    """The real one, which is slow on purpose; the same few values come thousands of times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply, "digest", functools.cache(digest))
        yield
