"""Evaluators and datasets.

The tables come from `tables.py`. A later change of one of their columns has to write this
migration out as it was, and to alter the column in a migration of its own.
"""

from alembic import op

from assay.records.tables import metadata

revision = "1"
down_revision = None

TABLES = (
    "schema_info", "evaluators", "evaluator_versions", "datasets", "dataset_versions", "uploads",
    "bodies", "dataset_items",
)  # fmt: skip


def upgrade() -> None:
    metadata.create_all(op.get_bind(), tables=[metadata.tables[name] for name in TABLES])
    op.execute("INSERT INTO schema_info (min_reader) VALUES (1)")
