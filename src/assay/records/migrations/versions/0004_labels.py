"""Labels; see `0001_evaluators_and_datasets` on changes of a table."""

from alembic import op

from assay.records.tables import metadata

revision = "4"
down_revision = "3"


def upgrade() -> None:
    metadata.create_all(op.get_bind(), tables=[metadata.tables["labels"]])
