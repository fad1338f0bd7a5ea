# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that are to be on and have no host, and since when (SCHED-13)."""

from __future__ import annotations

from typing import Any

try:
    import sqlalchemy as sa
    from alembic import op
except ImportError:  # checked on machines without them; Alembic itself never gets here then
    pass

revision = "r0005"
down_revision = "r0004"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    time: Any = sa.Double()
    op.create_table(
        "pending",
        sa.Column("vm", sa.String(64), primary_key=True),
        sa.Column("since", time, nullable=False),
        sa.Column("reason", sa.Text()),
        if_not_exists=True,
        **OPTIONS,
    )
