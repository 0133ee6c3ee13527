"""Made from `assay.client.asynchronous` by bin/sync-client: change it there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from assay.client import wire
from assay.client.cases import ITEM_FIELDS, Criteria, Judge, Rows, named, row_lines
from assay.client.ordered import iterate
from assay.client.synchronous.connection import Connection, Pages

Document = dict[str, Any]
LABELS_MAX = 1_000
"""Labels of one request."""


class StoredResource:
    """Records of one kind, under `/v1/<kind>`."""

    kind: str

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, **query: Any) -> Pages[Document]:
        """All records, newest first; the fields of the query filter them."""
        return self._pages(wire.path_of(self.kind), query)

    def get(self, name: str, **query: Any) -> Document:
        """A record by its name or id; raises `NotFound`."""
        return self._connection.get(wire.path_of(self.kind, name), **query)

    def delete(self, name: str) -> None:
        """Remove a record; raises `NotFound`."""
        self._connection.request("DELETE", wire.path_of(self.kind, name))

    def _pages(self, path: str, query: Mapping[str, Any]) -> Pages[Document]:
        return Pages(self._connection, path, query, lambda document: document)


class EvaluatorsResource(StoredResource):
    """`client.evaluators`: criteria with a judge, a name and versions."""

    kind = "evaluators"

    def create(
        self, name: str, criteria: Criteria, *, judge: Judge | None = None, **fields: Any
    ) -> Document:
        """Save criteria under a name, as version 1; raises `Conflict` if there is one."""
        path = wire.path_of(self.kind)
        return self._connection.post(
            path, name=name, criteria=named(criteria), judge=judge, **fields
        )

    def add_version(
        self, name: str, criteria: Criteria, *, judge: Judge | None = None, **fields: Any
    ) -> Document:
        """Save the next version; earlier ones stay as they are."""
        path = wire.path_of(self.kind, name, "versions")
        return self._connection.post(path, criteria=named(criteria), judge=judge, **fields)

    def versions(self, name: str) -> Pages[Document]:
        """All versions, newest first."""
        return self._pages(wire.path_of(self.kind, name, "versions"), {})

    def test(self, name: str, version: int) -> Document:
        """Whether a version meets the expectations of its examples."""
        path = wire.path_of(self.kind, name, "versions", str(version), "test")
        return self._connection.post(path)


class DatasetsResource(StoredResource):
    """`client.datasets`: cases with a name and versions."""

    kind = "datasets"

    def create(self, name: str, **fields: Any) -> Document:
        """Make a dataset, without items; raises `Conflict` if there is one."""
        return self._connection.post(wire.path_of(self.kind), name=name, **fields)

    def upload(self, name: str, rows: Rows, *, append: bool = False) -> Document:
        """Make a version of these items, or with `append` of the earlier ones and these."""
        return self._connection.request(
            "POST" if append else "PUT",
            wire.path_of(self.kind, name, "items"),
            content=lambda: iterate(row_lines(rows, ITEM_FIELDS)),
            headers={"Content-Type": wire.NDJSON},
            repeatable=not append and not isinstance(rows, Iterator),
        )

    def items(self, name: str, **query: Any) -> Pages[Document]:
        """The items of the newest version, or of `version`, in the order of the upload."""
        return self._pages(wire.path_of(self.kind, name, "items"), query)

    def versions(self, name: str) -> Pages[Document]:
        """All versions, newest first."""
        return self._pages(wire.path_of(self.kind, name, "versions"), {})


class LabelsResource(StoredResource):
    """`client.labels`: what people say of cases."""

    kind = "labels"

    def add(self, labels: Iterable[Mapping[str, Any]]) -> list[Document]:
        """Add labels, a thousand with each request; those of a request all or none."""
        added: list[Document] = []
        left = iter(labels)
        while some := list(islice(left, LABELS_MAX)):
            answer = self._connection.request(
                "POST",
                wire.path_of(self.kind),
                content=b"\n".join(map(wire.to_json, some)),
                headers={"Content-Type": wire.NDJSON},
                repeatable=False,
            )
            added += answer["data"]
        return added

    def draw(self, **fields: Any) -> Document:
        """Draw the rows of a batch that people should label next."""
        return self._connection.post(wire.path_of(self.kind, "draws"), **fields)

    def draws(self, **query: Any) -> Pages[Document]:
        """All draws, newest first."""
        return self._pages(wire.path_of(self.kind, "draws"), query)


class CalibrationsResource(StoredResource):
    """`client.calibrations`: how far judges agree with labels."""

    kind = "calibrations"

    def create(self, batch: str | None = None, **fields: Any) -> Document:
        """Compare the results of a batch, or of an `evaluator` over a `dataset`, with labels."""
        return self._connection.post(wire.path_of(self.kind), batch=batch, **fields)
