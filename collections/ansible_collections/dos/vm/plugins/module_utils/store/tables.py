# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables, as the code of today wants them; `migrations/` brings older ones here.

Times are seconds since 1970. Names are compared letter for letter (MariaDB would not by itself). Every table has a primary
key, which Galera asks for, and nothing counts on numbers without gaps.
"""

from __future__ import annotations

from typing import Any

from ._sql import sa

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
NAME = 64


class Tables:
    """All of them; made once by whoever opens a store."""

    def __init__(self) -> None:
        self.metadata = held = sa.MetaData()
        name, document = sa.String(NAME), sa.JSON(none_as_null=True)
        time: Any = sa.Double()

        # What the store knows of itself: whose it is, and rows that writers take turns by.
        self.meta = sa.Table(
            "meta", held, sa.Column("name", name, primary_key=True), sa.Column("value", sa.String(255)), **OPTIONS
        )

        # A host by its identity, which a new name does not change (HOST-T1.2). `surveyed` is when all that it holds was
        # last compared with the placements: what it did not have then and nobody placed there since, it does not have.
        self.hosts = sa.Table(
            "hosts",
            held,
            sa.Column("uuid", sa.String(36), primary_key=True),
            sa.Column("name", name, nullable=False, unique=True),
            sa.Column("hardware", sa.String(64)),
            sa.Column("facts", document),
            sa.Column("registered", time, nullable=False),
            sa.Column("answered", time),
            sa.Column("surveyed", time),
            **OPTIONS,
        )

        # Where each machine is. The epoch grows with every change of host and is never used again; `token` says whose
        # change the last one was.
        self.placements = sa.Table(
            "placements",
            held,
            sa.Column("vm", name, primary_key=True),
            sa.Column("host", name, index=True),
            sa.Column("epoch", sa.BigInteger(), nullable=False),
            sa.Column("state", sa.String(16), nullable=False),
            sa.Column("project", name),
            sa.Column("since", time, nullable=False),
            sa.Column("actor", sa.String(128)),
            sa.Column("token", sa.String(32), nullable=False),
            **OPTIONS,
        )

        # The dead host that a VM was on: its disks are there, until the VM was found on another host.
        self.left_disks = sa.Table(
            "left_disks",
            held,
            sa.Column("vm", name, primary_key=True),
            sa.Column("host", name, nullable=False),
            **OPTIONS,
        )

        # Words that outrank the declaration: power, scale. Intent is a function of them (law 7). Of one object the larger
        # `number` is newer, whatever any clock says; `against` is what was declared when it was given.
        self.orders = sa.Table(
            "orders",
            held,
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
            sa.Column("kind", sa.String(16), nullable=False),
            sa.Column("object", name, nullable=False),
            sa.Column("number", sa.BigInteger()),
            sa.Column("value", document),
            sa.Column("against", document),
            sa.Column("at", time, nullable=False),
            sa.Column("until", time),
            sa.Column("actor", sa.String(128)),
            sa.Column("reason", sa.String(255)),
            sa.Column("token", sa.String(32), nullable=False, unique=True),
            sa.Index("orders_by_object", "kind", "object", "at"),
            **OPTIONS,
        )

        # What happened, and who did it (AUD-02, AUD-03).
        self.events = sa.Table(
            "events",
            held,
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
            sa.Column("at", time, nullable=False, index=True),
            sa.Column("kind", sa.String(32), nullable=False),
            sa.Column("object", sa.String(160)),
            sa.Column("host", name),
            sa.Column("actor", sa.String(128), index=True),
            sa.Column("address", sa.String(64)),
            sa.Column("text", sa.Text()),
            sa.Column("detail", document),
            sa.Column("token", sa.String(32), nullable=False, unique=True),
            sa.Index("events_by_object", "object", "at"),
            **OPTIONS,
        )

        # A machine's time on a host with so many processors, as samples saw it (QUOTA-05). Open while `ended` is nothing.
        self.runs = sa.Table(
            "runs",
            held,
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
            sa.Column("vm", name, nullable=False, index=True),
            sa.Column("project", name, nullable=False, index=True),
            sa.Column("host", name, nullable=False),
            sa.Column("vcpus", sa.Integer(), nullable=False),
            sa.Column("memory", sa.BigInteger(), nullable=False),
            sa.Column("run", sa.String(64)),
            sa.Column("started", time, nullable=False),
            sa.Column("seen", time, nullable=False),
            sa.Column("ended", time, index=True),
            **OPTIONS,
        )

        # The last sign of life of each host's daemon, with its load (HOST-10, HOST-11).
        self.heartbeats = sa.Table(
            "heartbeats",
            held,
            sa.Column("host", name, primary_key=True),
            sa.Column("at", time, nullable=False, index=True),
            sa.Column("boot", sa.String(36)),
            sa.Column("load", document),
            **OPTIONS,
        )

        # Who decides now. Saves double work; no decision about a disk rests on it (section 6 of the architecture).
        self.leases = sa.Table(
            "leases",
            held,
            sa.Column("name", name, primary_key=True),
            sa.Column("holder", sa.String(128), nullable=False),
            sa.Column("epoch", sa.BigInteger(), nullable=False),
            sa.Column("until", time, nullable=False),
            **OPTIONS,
        )

        # Why a host's VMs may be started elsewhere: a lease that ran out, power read back off, a person's confirmation. It is
        # about one installed system, by its identity, and counts until that answers again.
        self.evidence = sa.Table(
            "evidence",
            held,
            sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
            sa.Column("host", name, nullable=False, index=True),
            sa.Column("identity", sa.String(36)),
            sa.Column("boot", sa.String(36)),
            sa.Column("kind", sa.String(32), nullable=False),
            sa.Column("at", time, nullable=False),
            sa.Column("actor", sa.String(128)),
            sa.Column("detail", document),
            sa.Column("token", sa.String(32), nullable=False, unique=True),
            **OPTIONS,
        )

        # What projects used of their quotas when the site was last made so (QUOTA-06).
        self.used = sa.Table(
            "used",
            held,
            sa.Column("project", name, primary_key=True),
            sa.Column("quota", sa.String(32), primary_key=True),
            sa.Column("amount", sa.BigInteger(), nullable=False),
            sa.Column("at", time, nullable=False),
            **OPTIONS,
        )

        # How busy hosts were, a row for each host and period (HOST-06). `traffic` counts bytes since the boot.
        self.loads = sa.Table(
            "loads",
            held,
            sa.Column("host", name, primary_key=True),
            sa.Column("at", time, primary_key=True, index=True),
            sa.Column("cpu", sa.Integer(), nullable=False),
            sa.Column("memory", sa.Integer(), nullable=False),
            sa.Column("disk", sa.Integer()),
            sa.Column("traffic", sa.BigInteger()),
            sa.Column("boot", sa.String(36)),
            **OPTIONS,
        )

        # Machines that are to be on and have no host (SCHED-13).
        self.pending = sa.Table(
            "pending",
            held,
            sa.Column("vm", name, primary_key=True),
            sa.Column("since", time, nullable=False),
            sa.Column("reason", sa.Text()),
            **OPTIONS,
        )
