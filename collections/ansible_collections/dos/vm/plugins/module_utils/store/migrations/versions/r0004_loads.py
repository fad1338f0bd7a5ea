# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy hosts were (HOST-06)."""

from __future__ import annotations

from typing import Any

try:
    import sqlalchemy as sa
    from alembic import op
except ImportError:  # checked on machines without them; Alembic itself never gets here then
    pass

revision = "r0004"
down_revision = "r0003"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    time: Any = sa.Double()
    op.create_table(
        "loads",
        sa.Column("host", sa.String(64), primary_key=True),
        sa.Column("at", time, primary_key=True),
        sa.Column("cpu", sa.Integer(), nullable=False),
        sa.Column("memory", sa.Integer(), nullable=False),
        sa.Column("disk", sa.Integer()),
        sa.Column("traffic", sa.BigInteger()),
        sa.Column("boot", sa.String(36)),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_index("ix_loads_at", "loads", ["at"], if_not_exists=True)
