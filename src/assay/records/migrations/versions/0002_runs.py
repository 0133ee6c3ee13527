"""Runs: batches over records, with their results."""

from alembic import op

from assay.records.tables import metadata

revision = "2"
down_revision = "1"

TABLES = ("runs", "results")


def upgrade() -> None:
    metadata.create_all(op.get_bind(), tables=[metadata.tables[name] for name in TABLES])
