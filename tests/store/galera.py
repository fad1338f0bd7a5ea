# SPDX-License-Identifier: GPL-3.0-or-later
"""Three nodes of Galera of a test's own, each at an address of its own and all at one port, as a URL names them."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mariadb
from mariadb import Server

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
NODES = 3
READY = "SHOW STATUS LIKE 'wsrep_ready'"


class Node(Server):
    """One of them. Its `address` is one of this machine's loopback, where every address answers."""

    def __init__(self, folder: Path, number: int, ports: tuple[int, int], peers: str) -> None:
        super().__init__(folder)
        folder.mkdir()
        self.address, (self.port, group) = f"127.0.0.{number + 1}", ports
        options = f"gmcast.listen_addr=tcp://{self.address}:{group};ist.recv_addr={self.address};gcache.size=16M"
        self.options = (
            f"--bind-address={self.address}",
            "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-on=ON", f"--wsrep-provider={PROVIDER}",
            f"--wsrep-cluster-address=gcomm://{peers}", f"--wsrep-node-address={self.address}:{group}",
            f"--wsrep-provider-options={options};pc.recovery=no;evs.keepalive_period=PT0.3S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S",
            "--wsrep-sst-method=skip",
        )  # fmt: skip

    def set(self, statement: str) -> None:
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    @property
    def ready(self) -> bool:
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(READY)
            return bool(cursor.fetchone()[1] == "ON")

    def wait(self, ready: bool = True) -> None:
        deadline = time.monotonic() + mariadb.PATIENCE
        while self.ready != ready:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-4000:]
            time.sleep(0.1)


@contextmanager
def cluster(folder: Path) -> Iterator[list[Node]]:
    """The nodes, synced. They begin with the same files, so that none has to send another its state."""
    ports = (mariadb._free_port(), mariadb._free_port())
    peers = ",".join(f"127.0.0.{number + 1}:{ports[1]}" for number in range(NODES))
    nodes = [Node(folder / f"node{number}", number, ports, peers) for number in range(NODES)]
    first, *others = nodes
    first.make()
    first.start(*first.options, "--wsrep-new-cluster")
    first.stop()
    for joined, node in enumerate(others, start=1):
        shutil.copytree(first.folder / "data", node.folder / "data")
        state = node.folder / "data" / "grastate.dat"
        # Every node that joins counts as a change, and one that lacks none of them asks for no transfer.
        at = re.sub(r"(?<=seqno:)\s+(\d+)", lambda found, more=joined: f"   {int(found[1]) + more}", state.read_text())
        state.write_text(at.replace("safe_to_bootstrap: 1", "safe_to_bootstrap: 0"))
    try:
        first.start(*first.options, "--wsrep-new-cluster")
        for node in others:
            node.start(*node.options)
            node.wait()
        yield nodes
    finally:
        for node in reversed(nodes):
            node.stop(kill=True)
