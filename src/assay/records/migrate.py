"""Brings the schema of the records up to date, with Alembic."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from assay.records.database import create_engine

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_265_636
"""The advisory lock under which two migrations of PostgreSQL follow each other."""


def migrate(url: str) -> None:
    """Run what is missing, all of it or nothing; for a thread or process without an event loop."""
    asyncio.run(_migrate(url))


async def _migrate(url: str) -> None:
    engine = create_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
