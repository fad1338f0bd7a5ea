# SPDX-License-Identifier: GPL-3.0-or-later
"""What every benchmark does around its work: have libvirt up, take the fastest of several runs, say what it is at, tell the result."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Raw = dict[str, Any]


def start_libvirt() -> None:
    """Libvirt answers on this machine."""
    subprocess.run([sys.executable, str(ROOT / "tools" / "libvirt_up.py")], check=True, stdout=subprocess.DEVNULL)


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The fastest of several runs: what else the machine does can only make one slower."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


def say(text: str) -> None:
    """What it is at, apart from the result."""
    print(f"… {text}", file=sys.stderr, flush=True)


def tell(result: Raw, text: str, file: Path | None) -> Raw:
    """Print the result as `text`, and keep all of it in `file` where one was asked for."""
    if file:
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(text)
    return result
