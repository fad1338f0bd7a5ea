# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside a disk, changed while nobody runs it: by libguestfs, whose appliance is the one that opens the file systems.

Nothing of the disk is ever mounted on the host (EDIT-02): a file system can be made to harm whoever mounts it.
See https://libguestfs.org/virt-sysprep.1.html and https://libguestfs.org/virt-customize.1.html.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..model.image import Edit
from .convert import DRAFT, chain, copy, like, settle, verify
from .job import Report
from .program import run

# What makes two machines of one image take each other for themselves (CONV-11).
SEALED = (
    "udev-persistent-net,machine-id,ssh-hostkeys,ssh-userdir,dhcp-client-state,net-hostname,net-hwaddr,lvm-uuids,"
    "logfiles,bash-history,utmp,tmp-files,package-manager-cache,mail-spool,cron-spool,abrt-data,customize"
)
CLOUD_INIT = ("/var/lib/cloud/instances", "/var/lib/cloud/instance", "/var/lib/cloud/sem", "/var/lib/cloud/data")


def edit(
    asked: Edit, file: str, passwords: Mapping[str, str], report: Report, environment: Mapping[str, str]
) -> Mapping[str, Any]:
    """Change a copy of a disk, check it, and let it take the disk's place. `passwords` are by the names of their secrets."""
    header = chain(file, asked.format, flatten=False)[0]
    draft = file + DRAFT
    try:
        copy(file, draft, report)
        with tempfile.TemporaryDirectory(prefix="dos-vm-edit-") as folder:
            command = _command(asked, header.format, draft, passwords, Path(folder))
            run("seal" if asked.seal else "edit", command, report, environment)
        verify(file, header.format, draft, header.format, report, same=False)
        like(draft, file)
        settle(draft, file, keep=asked.keep)
    finally:
        Path(draft).unlink(missing_ok=True)
    return {"file": file}


def _command(asked: Edit, format_: str, draft: str, passwords: Mapping[str, str], folder: Path) -> list[str]:
    program = ["virt-sysprep", "--operations", SEALED] if asked.seal else ["virt-customize"]
    return [*program, "--no-network", "--format", format_, "-a", draft, *_changes(asked, passwords, folder)]


def _changes(asked: Edit, passwords: Mapping[str, str], folder: Path) -> Iterator[str]:
    if asked.seal:
        for path in CLOUD_INIT:
            yield from ("--delete", path)
        # Customizing gives a guest without machine-id a new one, which all its clones would share.
        yield from ("--write", "/etc/machine-id:")
    if asked.hostname:
        yield from ("--hostname", asked.hostname)
    for path in asked.delete:
        yield from ("--delete", path)
    for number, file in enumerate(asked.files):
        given = folder / f"file-{number}"
        given.write_text(file.content, encoding="utf-8")
        yield from ("--mkdir", os.path.dirname(file.path), "--upload", f"{given}:{file.path}")
        yield from ("--chmod", f"{file.mode}:{file.path}")
    for user, secret in (asked.passwords or {}).items():
        # In a file of this process alone: arguments are for everybody to see.
        given = folder / f"password-{user}"
        given.touch(mode=0o600)
        given.write_text(passwords[secret], encoding="utf-8")
        yield from ("--password", f"{user}:file:{given}")
    for number, command in enumerate(asked.commands):
        script = folder / f"command-{number}"
        script.write_text(f"#!/bin/sh\nset -e\n{command}\n", encoding="utf-8")
        yield from ("--run", str(script))
