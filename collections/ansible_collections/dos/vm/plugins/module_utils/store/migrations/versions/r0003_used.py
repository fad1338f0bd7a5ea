# SPDX-License-Identifier: GPL-3.0-or-later
"""What projects used of their quotas when the site was last made so."""

from __future__ import annotations

from typing import Any

try:
    import sqlalchemy as sa
    from alembic import op
except ImportError:  # checked on machines without them; Alembic itself never gets here then
    pass

revision = "r0003"
down_revision = "r0002"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    time: Any = sa.Double()
    op.create_table(
        "used",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("quota", sa.String(32), primary_key=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at", time, nullable=False),
        if_not_exists=True,
        **OPTIONS,
    )
