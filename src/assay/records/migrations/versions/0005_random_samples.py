"""Labels say whether their items were drawn at random."""

from alembic import op
from sqlalchemy import Boolean, Column, false, inspect

revision = "5"
down_revision = "4"

COLUMN = "random_sample"


def upgrade() -> None:
    # The migration that makes the table takes it as it is today.
    if COLUMN not in {column["name"] for column in inspect(op.get_bind()).get_columns("labels")}:
        op.add_column("labels", Column(COLUMN, Boolean, nullable=False, server_default=false()))
