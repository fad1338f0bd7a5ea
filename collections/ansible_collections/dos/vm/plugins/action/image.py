# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.image`: sends the file in pieces through the connection there is, and goes on where it was cut off.

Each piece is the standard input of one command on the host, so it takes whatever road Ansible has: ssh, sudo, or none. Nothing
is kept anywhere between: what has arrived is what the file on the host already holds. Where the host is the machine that
Ansible runs on, nothing is sent: the module copies the file.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.dos.vm.plugins.module_utils.image.digest import digest
from ansible_collections.dos.vm.plugins.plugin_utils.patience import SECONDS, PatientAction, show, step

MODULE = "dos.vm.image"
PIECE = 32 * 2**20  # bytes sent by one command
ZEROS = bytes(PIECE)


class ActionModule(PatientAction):
    """Looks, sends what is missing, and has the whole proven."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        source = self._task.args.get("source")
        asked = {"seconds": SECONDS, **self._task.args}
        if source is None or self._task.args.get("state") == "absent":
            return super().run(tmp, variables)
        if not os.path.isfile(source):
            return {"failed": True, "msg": f"source: there is no file {source} on the controller"}
        size = os.path.getsize(source)
        here = self._connection.transport == "local"
        told = self.until_done(MODULE, {**asked, "size": size, "here": here}, variables)
        if told.get("failed") or told.get("present") or self._task.check_mode:
            return told
        if told["offset"] < size and (wrong := _mismatch(source, str(self._task.args["checksum"]))):
            return {"failed": True, "msg": wrong}
        with _uncompressed(self._connection):
            self._send(source, told["part"], int(told["offset"]), size, variables)
        sent = {"sent": size - int(told["offset"]), "resumed_at": int(told["offset"])}
        return {**self.until_done(MODULE, {**asked, "size": size, "finish": True}, variables), **sent}

    def _send(self, source: str, part: str, offset: int, size: int, variables: dict[str, Any]) -> None:
        """Write the file from `offset` on. A failure leaves what has arrived, and the next run goes on from there."""
        quoted = shlex.quote(part)
        with open(source, "rb") as file:
            file.seek(offset)
            while piece := file.read(PIECE):
                if piece == ZEROS[: len(piece)]:  # a hole, or as good as one: the host makes it by writing behind it
                    offset += len(piece)
                    continue
                # As much as a pipe holds: dd that collects a megabyte first takes more than twice as long.
                command = f"umask 077 && dd of={quoted} bs=64k iflag=fullblock oflag=seek_bytes seek={offset} conv=notrunc status=none"
                self._run(command, piece, offset, size)
                offset += len(piece)
                show(variables, step(f"send {os.path.basename(source)}", 100 * offset / size))
        self._run(f"truncate -s {size} {quoted}", b"", size, size)

    def _run(self, command: str, piece: bytes, offset: int, size: int) -> None:
        done = self._low_level_execute_command(command, in_data=piece)
        if done["rc"]:
            why = (done.get("stderr") or done.get("stdout") or "").strip()
            raise AnsibleError(f"sending stopped at {offset} of {size} bytes, the next run goes on from there: {why}")


@contextmanager
def _uncompressed(connection: Any) -> Iterator[None]:
    """An ssh connection of its own without the `-C` that Ansible gives ssh unasked; what else somebody asks of ssh stays.

    Small commands gain by it. Of an image little becomes smaller, and one processor compresses less than a wire carries.
    """
    if connection.transport != "ssh":
        yield
        return
    held = {name: connection.get_option(name) for name in ("ssh_args", "control_path")}
    # The connection that is open already compresses whatever comes through it.
    where = [
        connection.get_option(name) for name in ("host", "port", "remote_user", "ssh_common_args", "ssh_extra_args")
    ]
    name = hashlib.sha256(repr(where).encode()).hexdigest()[:10]
    connection.set_option("ssh_args", " ".join(word for word in (held["ssh_args"] or "").split(" ") if word != "-C"))
    connection.set_option("control_path", f"%(directory)s/dosvm-{name}")
    try:
        yield
    finally:
        for option, value in held.items():
            connection.set_option(option, value)


def _mismatch(source: str, checksum: str) -> str | None:
    """Why a file should not even be sent."""
    found = digest(source, "read", lambda _step, _percent: None)
    if found == checksum.strip().lower():
        return None
    return f"source: {source} has {found} and is declared {checksum}: bring the right file, or declare what it is; nothing was sent"
