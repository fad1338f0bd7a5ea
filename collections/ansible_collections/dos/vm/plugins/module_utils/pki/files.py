# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates on a host: looked at, made, put in place. Python and `openssl`, nothing else need be there.

A key is made here, and nobody but its readers ever sees it: not the controller, not the answer, not a command line. It lies
beside its place until its certificate is there, so that at no time a certificate stands next to somebody else's key.
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .. import durable
from ..errors import ConflictError, MissingLibraryError
from ..model.certificate import Asked, FilesRun, Holding, Installed

NEW = ".new"
PUBLIC = 0o644


def observe(holdings: Iterable[Holding]) -> dict[str, Any]:
    """What is on the host; certificates as PEM, of keys only their public half."""
    return {"nodename": os.uname().nodename, "holdings": [_held(holding) for holding in holdings]}


def _held(holding: Holding) -> dict[str, Any]:
    return {
        "certificate": _text(holding.certificate),
        "trusted": _text(holding.trusted),
        "public_key": _public_key(holding.key),
        "loose": [path for path, mode, group in _files(holding) if not _is_as_wanted(path, mode, group)],
    }


def _files(holding: Holding) -> Iterator[tuple[str, int, str]]:
    """Files of a holding with their mode and group; their owner is root."""
    yield holding.certificate, PUBLIC, "root"
    yield holding.trusted, PUBLIC, "root"
    yield holding.key, _key_mode(holding.group), holding.group


def _key_mode(group: str) -> int:
    return 0o600 if group == "root" else 0o640


def _text(path: str) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return Path(path).read_text()
    return ""


def _public_key(path: str) -> str:
    """The public half; nothing of a key that is not there or no key."""
    if not Path(path).exists():
        return ""
    done = _openssl("pkey", "-in", path, "-pubout", "-passin", "pass:")
    return done.stdout if done.returncode == 0 else ""


def _is_as_wanted(path: str, mode: int, group: str) -> bool:
    """A file that is not there is nobody's fault yet."""
    try:
        held = os.lstat(path)
    except FileNotFoundError:
        return True
    owners = (held.st_uid, held.st_gid)
    return stat.S_ISREG(held.st_mode) and stat.S_IMODE(held.st_mode) == mode and owners == (0, _gid(group))


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConflictError(f"this host has no group {group}: is QEMU installed, and tls_qemu_group right?") from None


def _openssl(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ("openssl", *words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )  # fmt: skip
    except FileNotFoundError:
        raise MissingLibraryError("this host lacks openssl: install the package of that name") from None


# Keys


def ask(asked: Asked) -> str:
    """A request to sign the key that lies beside `asked.key`, which is made if there is none."""
    new = asked.key + NEW
    _folder(Path(asked.key).parent, private=True)
    if not _public_key(new):
        _make_key(new, asked)
    usage = {"server": "serverAuth", "client": "clientAuth"}[asked.usage]
    names = ",".join(
        f"{'IP' if ':' in name or name.replace('.', '').isdigit() else 'DNS'}:{name}" for name in asked.names
    )
    extensions = [f"extendedKeyUsage={usage}", *([f"subjectAltName={names}"] if names else [])]
    added = [word for extension in extensions for word in ("-addext", extension)]
    done = _openssl("req", "-new", "-utf8", "-sha256", "-key", new, "-subj", asked.subject, *added)
    if done.returncode:
        raise ConflictError(f"openssl makes no signing request: {done.stderr.strip()}")
    return done.stdout


def _make_key(path: str, asked: Asked) -> None:
    Path(path).unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    done = _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{asked.bits}", "-out", path)
    if done.returncode:
        raise ConflictError(f"openssl makes no key: {done.stderr.strip().splitlines()[-1]}")
    os.chown(path, 0, _gid(asked.group))
    os.chmod(path, _key_mode(asked.group))


# Files


def install(installed: Installed) -> None:
    path = Path(installed.path)
    _folder(path.parent)
    beside = durable.draft(path, installed.text, PUBLIC, owner=(0, 0))
    if installed.key is not None:
        durable.settle(installed.key + NEW)
        durable.move(installed.key + NEW, installed.key)
    durable.move(beside, path)


def restore(holding: Holding) -> None:
    for path, mode, group in _files(holding):
        if not _is_as_wanted(path, mode, group):
            os.chown(path, 0, _gid(group), follow_symlinks=True)
            os.chmod(path, mode)


def _folder(path: Path, *, private: bool = False) -> None:
    """Makes a folder that is missing; one that is there stays as it is. Folders named so are for keys alone."""
    if not path.is_dir():
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.mkdir(mode=0o700 if private and path.name == "private" else 0o755, exist_ok=True)


def perform(run: FilesRun, *, dry_run: bool) -> list[str]:
    """Does what is asked for and returns the signing requests."""
    if dry_run:
        return []
    requests = [ask(asked) for asked in run.asked]
    for installed in run.installed:
        install(installed)
    for holding in run.holdings if run.restore else ():
        restore(holding)
    return requests
