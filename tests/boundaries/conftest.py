# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites whose hosts lie; what these tests share is beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lying import LyingSite


@pytest.fixture
def lying_site(tmp_path: Path) -> LyingSite:
    return LyingSite(tmp_path)
