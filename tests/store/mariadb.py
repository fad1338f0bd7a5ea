# SPDX-License-Identifier: GPL-3.0-or-later
"""A MariaDB of a test's own: its folder, its port, no service. It takes two seconds to make and one to start."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

PASSWORD = "s3cret/word"
QUOTED = "s3cret%2Fword"
PATIENCE = 300.0  # seconds, on a machine that does other things as well
READY = b"mariadbd: ready for connections"  # of Galera's group it says the same, before it hears any signal
# What makes it safe against power loss is not what these tests are about.
QUICK = ("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--skip-log-bin", "--skip-name-resolve")


class Server:
    """One server. `url()` names a database as our user; `root()` is a connection for what only an administrator may."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        command = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--user={getpass.getuser()}",
        ]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)

    def start(self, *options: str) -> None:
        command = [
            shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self.folder / 'data'}",
            f"--user={getpass.getuser()}", "--bind-address=127.0.0.1", f"--port={self.port}",
            f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}", *QUICK,
            *options,
        ]  # fmt: skip
        log = self.folder / "log"
        said = log.read_bytes().count(READY) if log.exists() else 0
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while log.read_bytes().count(READY) == said:
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(PATIENCE)
            self._process = None

    def root(self) -> Any:
        return pymysql.connect(unix_socket=str(self.folder / "socket"), user="root", autocommit=True)

    def database(self, name: str) -> str:
        """A new database with a user for it; its URL."""
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
            cursor.execute(f"CREATE OR REPLACE USER 'dos'@'%' IDENTIFIED BY '{PASSWORD}'")
            cursor.execute("GRANT ALL ON *.* TO 'dos'@'%'")
        return self.url(name)

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"mysql+pymysql://dos:{QUOTED}@{host}:{self.port}/{name}"


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A running server, gone afterwards."""
    held = Server(folder)
    held.make()
    held.start()
    try:
        yield held
    finally:
        held.stop()


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
