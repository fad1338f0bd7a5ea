# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt on a host does about TLS, as JSON, beside what it should do, which comes as the first argument.

Reads; changes nothing. The running daemon is asked as well as its files: a run that broke off between the two is made up for.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def properties(name: str) -> dict[str, str]:
    wanted = "ActiveState,UnitFileState,ExecMainStartTimestampMonotonic"
    shown = subprocess.run(
        ("systemctl", "show", f"--property={wanted}", "--", name), capture_output=True, text=True, check=False
    ).stdout  # fmt: skip
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def text(path: str) -> str:
    """What is in the file; of one that is not there, nothing."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def written(value: Any) -> str:
    """A value as libvirt's files have it; they know no escapes."""
    if isinstance(value, list):
        return f"[{', '.join(written(item) for item in value)}]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def settings(file: str, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Settings that have another value than they should; `line` is empty where none is needed."""
    found: dict[str, list[Any]] = {"settings_wrong": [], "settings_in_several_lines": []}
    conf = text(file)
    for row in rows:
        lines = re.findall(rf"^[ \t]*{row['name']}[ \t]*=[ \t]*(.*?)[ \t]*$", conf, re.MULTILINE)
        if any(line.startswith("[") and not line.endswith("]") for line in lines):
            found["settings_in_several_lines"].append(f"{row['name']} in {file}")
        held = [re.sub(r"\s+", "", line.replace("'", '"')) for line in lines] or [unspaced(row["default"])]
        if held != [unspaced(row["value"])]:
            line = "" if row["value"] == row["default"] else f"{row['name']} = {written(row['value'])}"
            gone = bool(lines) and (not line or len(lines) > 1)
            found["settings_wrong"].append({"file": file, "name": row["name"], "line": line, "gone": gone})
    return found


def unspaced(value: Any) -> str:
    return re.sub(r"\s+", "", written(value))


def is_listening(socket: dict[str, str]) -> bool:
    return socket.get("ActiveState") == "active" and socket.get("UnitFileState") == "enabled"


def is_wanted_by_nobody(socket: dict[str, str]) -> bool:
    return socket.get("ActiveState") != "active" and socket.get("UnitFileState") != "enabled"


def newest(paths: list[str]) -> float:
    return max((Path(path).stat().st_mtime for path in paths if Path(path).exists()), default=0.0)


def main() -> None:
    question = json.loads(sys.argv[1])
    service = properties(question["service"])
    sockets = [(socket["name"], socket["wanted"], properties(socket["name"])) for socket in question["sockets"]]
    runs = service.get("ActiveState") == "active"
    started = time.time() - time.monotonic() + int(service.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    looked = [settings(conf["file"], conf["rows"]) for conf in question["settings"]]
    own = question["settings"][0]["file"]  # the daemon's; the other is the matter of the role hypervisor, too
    answer = {
        "settings_wrong": [row for found in looked for row in found["settings_wrong"]],
        "settings_in_several_lines": [row for found in looked for row in found["settings_in_several_lines"]],
        "settings_outdated": runs and newest([own, question["dropin"]]) > started,
        "certificates_outdated": runs and newest(question["files"]) > max(started, newest([question["loaded"]])),
        "dropin_wrong": text(question["dropin"]).strip() != question["dropin_text"].strip(),
        "sockets_idle": [name for name, wanted, held in sockets if wanted and not is_listening(held)],
        "sockets_unwanted": [
            name for name, wanted, held in sockets if not wanted and not is_wanted_by_nobody(held)
        ],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
