"""Labels; see `LabelStore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, text, update

from assay.domain.labels import HumanLabel
from assay.records.database import Database
from assay.records.tables import labels

LABELS_LOCK = 7_265_638
"""The advisory lock under which labels are added: of two corrections at once, one is the later."""
_SAME_ITEM = ("dataset", "batch", "item_id", "digest", "criterion", "annotator")
_CORRECTION = (
    update(labels)
    .where(
        labels.c.tenant == bindparam("of_tenant"),
        labels.c.superseded_by.is_(None),
        *(labels.c[name] == bindparam(f"of_{name}") for name in _SAME_ITEM),
    )
    .values(superseded_by=bindparam("by"))
)
_FIELDS = [labels.c[field.name] for field in fields(HumanLabel)]


class RecordedLabels:
    """See `LabelStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tenant: str, labels_: Sequence[HumanLabel]) -> None:
        rows: list[dict[str, Any]] = []
        latest: dict[tuple[str, ...], int] = {}
        for label in labels_:
            key = tuple(getattr(label, name) for name in _SAME_ITEM)
            if key in latest:
                rows[latest[key]]["superseded_by"] = label.id
            latest[key] = len(rows)
            rows.append({"tenant": tenant, **asdict(label)})
        async with self._database.writing() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({LABELS_LOCK})"))
            same = ("tenant", *_SAME_ITEM)
            await connection.execute(
                _CORRECTION,
                [{"by": row["id"], **{f"of_{name}": row[name] for name in same}} for row in rows],
            )
            await connection.execute(insert(labels), rows)

    async def page(
        self,
        tenant: str,
        before: str,
        limit: int,
        *,
        superseded: bool,
        wanted: Mapping[str, str],
    ) -> Sequence[HumanLabel]:
        conditions = [labels.c[name] == value for name, value in wanted.items()]
        conditions += [labels.c.id < before] if before else []
        query = select(*_FIELDS).where(
            labels.c.tenant == tenant,
            labels.c.superseded_by.is_not(None) if superseded else labels.c.superseded_by.is_(None),
            *conditions,
        )
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(labels.c.id.desc()).limit(limit))
            return [HumanLabel(*row) for row in found]

    async def delete(self, tenant: str, label_id: str) -> bool:
        statement = delete(labels).where(labels.c.tenant == tenant, labels.c.id == label_id)
        async with self._database.writing() as connection:
            return bool((await connection.execute(statement)).rowcount)
