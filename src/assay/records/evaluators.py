"""Evaluators and their versions; see `EvaluatorStore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from assay.domain.records import EVALUATOR_ID_KIND, VERSION_MAX, EvaluatorVersion
from assay.records.database import Database
from assay.records.named import NamedTable
from assay.records.tables import evaluator_versions, evaluators


class RecordedEvaluators:
    """See `EvaluatorStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = NamedTable(EVALUATOR_ID_KIND, evaluators, evaluator_versions, "evaluator_id")

    async def create(
        self, tenant: str, name: str, description: str, spec: Mapping[str, Any]
    ) -> EvaluatorVersion:
        of_name = {"description": description, "newest": 1}
        async with self._database.writing() as connection:
            await self._names.create(connection, tenant, name, of_name, {"spec": spec})
            return _version(await self._names.find(connection, tenant, name))

    async def add_version(
        self, tenant: str, name: str, spec: Mapping[str, Any]
    ) -> EvaluatorVersion | None:
        async with self._database.writing() as connection:
            row = await self._names.next_version(connection, tenant, name)
            if row is None:
                return None
            await self._names.add_version(connection, row.id, row.newest, {"spec": spec})
            return _version(await self._names.find(connection, tenant, name))

    async def find(
        self, tenant: str, name: str, version: int | None = None
    ) -> EvaluatorVersion | None:
        async with self._database.reading() as connection:
            row = await self._names.find(connection, tenant, name, version)
        return None if row is None else _version(row)

    async def versions(
        self, tenant: str, name: str, before: int = VERSION_MAX, limit: int = 100
    ) -> Sequence[EvaluatorVersion]:
        async with self._database.reading() as connection:
            found = await self._names.versions(connection, tenant, name, before, limit)
        return [_version(row) for row in found]

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[EvaluatorVersion]:
        async with self._database.reading() as connection:
            found = await self._names.page(connection, tenant, before, limit)
        return [_version(row) for row in found]

    async def delete(self, tenant: str, name: str, *, erase: bool) -> bool:
        async with self._database.writing() as connection:
            return await self._names.delete(connection, tenant, name, erase=erase)


def _version(row: Row[Any] | None) -> EvaluatorVersion:
    if row is None:  # it was written in this transaction
        raise LookupError
    return EvaluatorVersion(
        row.id, row.name, row.version, row.created_ms, row.description, row.spec
    )
