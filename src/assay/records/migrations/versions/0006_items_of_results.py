"""Results are found by their items."""

from alembic import op

from assay.records.tables import metadata

revision = "6"
down_revision = "5"


def upgrade() -> None:
    # The migration that makes the table takes it as it is today.
    for index in metadata.tables["results"].indexes:
        index.create(op.get_bind(), checkfirst=True)
