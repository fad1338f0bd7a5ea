# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts, placements, orders and events. A revision is never changed again; what comes later is a later one's.

MariaDB keeps every table at once, so a run that was killed in the middle has left some: they are passed over.
"""

from __future__ import annotations

from typing import Any

try:
    import sqlalchemy as sa
    from alembic import op
except ImportError:  # checked on machines without them; Alembic itself never gets here then
    pass

revision = "r0001"
down_revision = None

OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    name, document = sa.String(64), sa.JSON(none_as_null=True)
    time: Any = sa.Double()
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "meta",
        sa.Column("name", name, primary_key=True),
        sa.Column("value", sa.String(255)),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_table(
        "hosts",
        sa.Column("uuid", sa.String(36), primary_key=True),
        sa.Column("name", name, nullable=False, unique=True),
        sa.Column("facts", document),
        sa.Column("registered", time, nullable=False),
        sa.Column("answered", time),
        sa.Column("surveyed", time),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_table(
        "placements",
        sa.Column("vm", name, primary_key=True),
        sa.Column("host", name),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("project", name),
        sa.Column("since", time, nullable=False),
        sa.Column("actor", sa.String(128)),
        sa.Column("token", sa.String(32), nullable=False),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_table(
        "orders",
        sa.Column("id", number, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("object", name, nullable=False),
        sa.Column("value", document),
        sa.Column("at", time, nullable=False),
        sa.Column("until", time),
        sa.Column("actor", sa.String(128)),
        sa.Column("reason", sa.String(255)),
        sa.Column("token", sa.String(32), nullable=False, unique=True),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_table(
        "events",
        sa.Column("id", number, primary_key=True),
        sa.Column("at", time, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("object", sa.String(160)),
        sa.Column("host", name),
        sa.Column("actor", sa.String(128)),
        sa.Column("address", sa.String(64)),
        sa.Column("text", sa.Text()),
        sa.Column("detail", document),
        sa.Column("token", sa.String(32), nullable=False, unique=True),
        if_not_exists=True,
        **OPTIONS,
    )
    op.create_index("ix_placements_host", "placements", ["host"], if_not_exists=True)
    op.create_index("orders_by_object", "orders", ["kind", "object", "at"], if_not_exists=True)
    op.create_index("ix_events_at", "events", ["at"], if_not_exists=True)
    op.create_index("ix_events_actor", "events", ["actor"], if_not_exists=True)
    op.create_index("events_by_object", "events", ["object", "at"], if_not_exists=True)
