"""Small documents, such as those of the OpenAI surface."""

from alembic import op

from assay.records.tables import metadata

revision = "3"
down_revision = "2"


def upgrade() -> None:
    metadata.create_all(op.get_bind(), tables=[metadata.tables["objects"]])
