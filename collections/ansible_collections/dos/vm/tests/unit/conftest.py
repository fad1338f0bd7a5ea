# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every unit test."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no reason to fail: no test here is about time.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    # A folder that has the option for itself may have been read before.
    with contextlib.suppress(ValueError):
        parser.addoption("--regenerate", action="store_true", help="rewrite what the cases expect; read the diff")
