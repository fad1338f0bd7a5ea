# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `located`, `site_cases` and `site_strategies`, which lie beside the tests, importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--regenerate", default=False))
