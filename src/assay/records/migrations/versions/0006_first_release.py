"""All tables of the first release.

They come from `tables.py`. A later change of one of their columns has to write this migration out
as it was, and to alter the column in a migration of its own.
"""

from alembic import op

from assay.records.tables import metadata

revision = "6"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    op.execute("INSERT INTO schema_info (min_reader) VALUES (1)")
