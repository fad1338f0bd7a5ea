# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs, and who watches: metering, heartbeats, leases, evidence; hosts are known by their hardware too."""

from __future__ import annotations

from typing import Any

try:
    import sqlalchemy as sa
    from alembic import op
except ImportError:  # checked on machines without them; Alembic itself never gets here then
    pass

revision = "r0002"
down_revision = "r0001"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    name, document = sa.String(64), sa.JSON(none_as_null=True)
    time: Any = sa.Double()
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    # SQLite knows no such clause, and does not need it: there all of an upgrade is one transaction.
    resumable = op.get_context().dialect.name != "sqlite"
    op.add_column("hosts", sa.Column("hardware", sa.String(64)), if_not_exists=resumable)
    op.create_table(
        "runs",
        sa.Column("id", number, primary_key=True),
        sa.Column("vm", name, nullable=False),
        sa.Column("project", name, nullable=False),
        sa.Column("host", name, nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.String(64)),
        sa.Column("started", time, nullable=False),
        sa.Column("seen", time, nullable=False),
        sa.Column("ended", time),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_table(
        "heartbeats",
        sa.Column("host", name, primary_key=True),
        sa.Column("at", time, nullable=False),
        sa.Column("boot", sa.String(36)),
        sa.Column("load", document),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_table(
        "leases",
        sa.Column("name", name, primary_key=True),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("until", time, nullable=False),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_table(
        "evidence",
        sa.Column("id", number, primary_key=True),
        sa.Column("host", name, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("actor", sa.String(128)),
        sa.Column("detail", document),
        sa.Column("token", sa.String(32), nullable=False, unique=True),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_index("ix_runs_vm", "runs", ["vm"], if_not_exists=True)
    op.create_index("ix_runs_project", "runs", ["project"], if_not_exists=True)
    op.create_index("ix_runs_ended", "runs", ["ended"], if_not_exists=True)
    op.create_index("ix_heartbeats_at", "heartbeats", ["at"], if_not_exists=True)
    op.create_index("ix_evidence_host", "evidence", ["host"], if_not_exists=True)
