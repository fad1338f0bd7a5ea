# SPDX-License-Identifier: GPL-3.0-or-later
"""The payload of a module, kept from one run to the next.

Ansible parses every file that a module imports anew in each run, to find what to send: 0.4 s for `dos.vm.host`, more than
the whole of its work when nothing changed. Within a run it keeps the answer in a file; we carry that file over to the next
run and let Ansible find it. Where Ansible keeps it is its own affair: if it moves, nothing is found and nothing is lost but
the time (docs/design/0009).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ansible
from ansible import constants as C

PLUGINS = Path(__file__).parents[1]
# What Ansible is, and what decides how it packs.
SENDERS = (Path(ansible.__file__).parent / "module_utils", Path(ansible.__file__).parent / "executor")
# Of each module; older ones belong to versions of the library that are gone.
KEEP = 2


@contextmanager
def kept(module: str) -> Iterator[None]:
    """While this lasts, Ansible finds the payload of `dos.vm.<module>` that an earlier run made of the very same files."""
    with suppress(OSError):
        _bring(module)
    yield
    with suppress(OSError):
        _keep(module)


def _bring(module: str) -> None:
    store = _store(module)
    for path in store.glob("*") if _is_private(store) else ():
        target = _of_this_run() / path.name
        if not target.exists():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            _copy(path, target)


def _keep(module: str) -> None:
    store = _store(module)
    made = [path for path in _of_this_run().glob(f"{_name(module)}-*") if not path.name.endswith((".lock", "-part"))]
    missing = [path for path in made if not (store / path.name).exists()]
    if not missing:
        return
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        _copy(path, store / path.name)
    for old in sorted(store.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all: another worker of this run may do the same."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, part)
    part.replace(target)


def _is_private(store: Path) -> bool:
    """Whether nobody else could have put something there: Ansible executes what it finds."""
    found = store.lstat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _of_this_run() -> Path:
    return Path(C.DEFAULT_LOCAL_TMP) / "ansiballz_cache"


def _name(module: str) -> str:
    return f"ansible_collections.dos.vm.plugins.modules.{module}"


def _store(module: str) -> Path:
    return Path(C.config.get_config_value("ANSIBLE_HOME")) / "dos.vm" / "payload" / module / _digest(module)


def _digest(module: str) -> str:
    """Of everything a payload is made of, by name, size and time of change: reading it all would cost what we save."""
    seen = hashlib.sha256(f"{sys.version} {ansible.__version__}".encode())
    for folder in (*SENDERS, PLUGINS / "module_utils"):
        for parent, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted(files):
                if name.endswith(".py"):
                    found = os.stat(os.path.join(parent, name))
                    seen.update(f"{parent}/{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    found = (PLUGINS / "modules" / f"{module}.py").stat()
    seen.update(f"{PLUGINS} {found.st_size} {found.st_mtime_ns}".encode())
    return seen.hexdigest()
