# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence is about an installed system; power overrides are numbered, and know what they were given against."""

from __future__ import annotations

try:
    import sqlalchemy as sa
    from alembic import op
except ImportError:  # checked on machines without them; Alembic itself never gets here then
    pass

revision = "r0006"
down_revision = "r0005"


def upgrade() -> None:
    document = sa.JSON(none_as_null=True)
    for table, column in (
        ("evidence", sa.Column("identity", sa.String(36))),
        ("evidence", sa.Column("boot", sa.String(36))),
        ("orders", sa.Column("number", sa.BigInteger())),
        ("orders", sa.Column("against", document)),
    ):
        # MariaDB keeps every statement at once, so an upgrade that was killed may have made some of them.
        if column.name not in {held["name"] for held in sa.inspect(op.get_bind()).get_columns(table)}:
            op.add_column(table, column)
    evidence = sa.table("evidence", sa.column("kind"))
    op.execute(evidence.update().where(evidence.c.kind == "word").values(kind="confirmation"))
