"""What Alembic runs: the migrations, over the connection that it is given."""

from alembic import context

from assay.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
