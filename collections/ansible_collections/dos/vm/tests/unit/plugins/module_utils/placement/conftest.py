# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `placement_made` and the strategies, which lie beside the tests, importable."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "site"):
    sys.path.insert(0, str(folder))
