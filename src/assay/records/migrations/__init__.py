"""Migrations of the records' schema, run by Alembic."""
