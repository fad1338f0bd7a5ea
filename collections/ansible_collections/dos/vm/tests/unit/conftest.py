# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every unit test."""

from __future__ import annotations

import contextlib

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    # A folder that has the option for itself may have been read before.
    with contextlib.suppress(ValueError):
        parser.addoption("--regenerate", action="store_true", help="rewrite what the cases expect; read the diff")
