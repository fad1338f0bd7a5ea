# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead hosts that VMs left their disks on."""

from __future__ import annotations

from typing import Any

try:
    import sqlalchemy as sa
    from alembic import op
except ImportError:  # checked on machines without them; Alembic itself never gets here then
    pass

revision = "r0007"
down_revision = "r0006"

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.create_table(
        "left_disks",
        sa.Column("vm", sa.String(64), primary_key=True),
        sa.Column("host", sa.String(64), nullable=False),
        if_not_exists=True,
        **OPTIONS,
    )
