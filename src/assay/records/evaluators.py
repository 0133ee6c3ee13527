"""Evaluators and their versions; see `EvaluatorStore`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from assay.domain.records import EVALUATOR_ID_KIND, EvaluatorVersion
from assay.records.database import Database
from assay.records.named import NamedTable
from assay.records.tables import evaluator_versions, evaluators


class RecordedEvaluators(NamedTable[EvaluatorVersion]):
    """See `EvaluatorStore`."""

    def __init__(self, database: Database) -> None:
        tables = evaluators, evaluator_versions, "evaluator_id"
        super().__init__(database, EVALUATOR_ID_KIND, *tables, _version)

    async def create(
        self, tenant: str, name: str, description: str, spec: Mapping[str, Any]
    ) -> EvaluatorVersion:
        of_name = {"description": description, "newest": 1}
        return await self._create(tenant, name, of_name, {"spec": spec})

    async def add_version(
        self, tenant: str, name: str, spec: Mapping[str, Any]
    ) -> EvaluatorVersion | None:
        async with self._database.writing() as connection:
            return await self._add_next(connection, tenant, name, {"spec": spec})


def _version(row: Row[Any]) -> EvaluatorVersion:
    return EvaluatorVersion(
        row.id, row.name, row.version, row.created_ms, row.description, row.spec
    )
