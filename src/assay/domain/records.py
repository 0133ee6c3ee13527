"""Records as values, and the ports to what keeps them: all that must outlive Redis.

A version of an evaluator or a dataset never changes. Every call of a port raises
`RecordsUnavailable` if the database does not answer, and finds only what belongs to the tenant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from assay.domain.batches import Batch, NewBatch, ResultPage, StoredResult, Sums
from assay.domain.errors import DomainError

EVALUATOR_ID_KIND, DATASET_ID_KIND = "evaluator", "dataset"
CALIBRATION_ID_KIND, CONTROL_ID_KIND, DRAW_ID_KIND = "calibration", "control", "draw"
"""The first parts of ids."""
COMPARISON, COMPARISON_ROWS = "comparison", "comparison_rows"
"""Kinds of objects that are removed with anything they might show: they can be made again."""
VERSION_MAX = 1_000_000_000
"""No version has this number: they are counted from 1."""


class RecordsUnavailable(DomainError):
    """The database of records does not answer, and the operation needs it."""

    code = "records_unavailable"


@dataclass(frozen=True, slots=True)
class NamedRecord:
    """One version of what has a name and versions.

    `created_ms` is of the version; `id` is that of the name, and sorts by its age.
    """

    id: str
    name: str
    version: int
    created_ms: int
    description: str = ""

    @property
    def reference(self) -> str:
        """The name with the version, such as `quality@3`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class EvaluatorVersion(NamedRecord):
    """One version of an evaluator.

    `spec` is its JSON: `criteria` and `judge` as they were sent, `examples` and `metadata`.
    """

    spec: Mapping[str, Any] = field(default_factory=dict)


class RunStore(Protocol):
    """Keeps batches over records after Redis has let them go: each with its results.

    A run is invisible until all of its results were copied.
    """

    async def create(self, batch: NewBatch) -> None:
        """Note that the batch will be copied."""
        ...

    async def copied(self, batch_id: str) -> int | None:
        """The index of the next result to copy; None if the run is gone."""
        ...

    async def add_results(
        self, batch_id: str, results: Sequence[StoredResult], copied: int
    ) -> bool:
        """Add results, those that are there already excepted; the next one to copy is `copied`.

        False if the run is gone.
        """
        ...

    async def finish(self, batch: Batch, request: bytes, sums: Sums) -> None:
        """Show the run, unless it is gone: all of its results are there."""
        ...

    async def find(self, tenant: str, batch_id: str) -> Batch | None:
        """A finished run."""
        ...

    async def request(self, batch_id: str) -> bytes | None:
        """The `request` that a finished run was made with."""
        ...

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[Batch]:
        """Finished runs older than the id `before`, the newest first."""
        ...

    async def results(self, batch: Batch, cursor: int, limit: int) -> ResultPage:
        """Results from index `cursor` on, in order."""
        ...

    async def known_ids(self, batch_id: str, ids: Sequence[str]) -> Collection[str]:
        """Those of the ids that results of the run have."""
        ...

    async def sums(self, batch_id: str) -> Sums:
        """The sums of all results."""
        ...

    async def delete(self, batch_id: str) -> None:
        """Remove the run with its results."""
        ...


Version_co = TypeVar("Version_co", bound=NamedRecord, covariant=True)


class VersionStore(Protocol[Version_co]):
    """Keeps what has a name and versions."""

    async def find(self, tenant: str, name: str, version: int | None = None) -> Version_co | None:
        """A version, by default the newest."""
        ...

    async def versions(
        self, tenant: str, name: str, before: int = VERSION_MAX, limit: int = 100
    ) -> Sequence[Version_co]:
        """Versions older than `before`, the newest first."""
        ...

    async def page(self, tenant: str, before: str, limit: int) -> Sequence[Version_co]:
        """The newest version of each name made before the id `before`, the newest names first."""
        ...

    async def delete(self, tenant: str, name: str, *, erase: bool) -> bool:
        """Hide the name with its versions, or remove it, hidden or not; False if there is none."""
        ...


class EvaluatorStore(VersionStore[EvaluatorVersion], Protocol):
    """Keeps evaluators; see `EvaluatorVersion`."""

    async def create(
        self, tenant: str, name: str, description: str, spec: Mapping[str, Any]
    ) -> EvaluatorVersion:
        """Version 1; raises `RequestError` (`conflict`) where the name is taken or reserved."""
        ...

    async def add_version(
        self, tenant: str, name: str, spec: Mapping[str, Any]
    ) -> EvaluatorVersion | None:
        """The next version; None if there is no evaluator of that name."""
        ...


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A small JSON document with an id that sorts by age, such as a name that may change.

    `parent` is the id of what it belongs to, or empty.
    """

    id: str
    kind: str
    document: Mapping[str, Any]
    parent: str = ""
    created_ms: int = 0
    updated_ms: int = 0


class ObjectStore(Protocol):
    """Keeps documents; see `StoredObject`."""

    async def add(self, tenant: str, new: StoredObject) -> StoredObject:
        """The new object, with its times, in the place of one with its id."""
        ...

    async def change(
        self, tenant: str, id_: str, document: Mapping[str, Any], *,
        updates: bool = True, token: str | None = None, children: Sequence[StoredObject] = (),
    ) -> StoredObject | None:  # fmt: skip
        """The object with another document if the old one has the `token`; `updates`: as of now.

        `children` take the place of those it has, with the change or not at all.
        """
        ...

    async def of_all(self, kind: str, after: str, limit: int) -> Sequence[tuple[str, StoredObject]]:
        """Objects of all tenants with their tenants, in the order of their ids after `after`."""
        ...

    async def find(
        self, tenant: str, kind: str, id_: str, parent: str = ""
    ) -> StoredObject | None: ...

    async def page(
        self,
        tenant: str,
        kind: str,
        parent: str = "",
        *,
        after: str = "",
        limit: int,
        descending: bool = True,
        by_update: bool = False,
    ) -> Sequence[StoredObject]:
        """Objects in the order of their age or their last change, those after the id `after`."""
        ...

    async def delete(self, tenant: str, kind: str, id_: str) -> bool:
        """Delete it, and all objects whose parent it is; False if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class DatasetVersion(NamedRecord):
    """One version of a dataset, with what all its versions have in common.

    Version 0 has no items. `uploads` are the uploads whose items it has.
    """

    schema: Mapping[str, Any] | None = None
    items: int = 0
    uploads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to be added; `line` is its place in the upload, `body` its JSON, `digest` its hash.

    `metadata` is what lists can be filtered by.
    """

    line: int
    id: str
    digest: str
    body: bytes
    group: str | None = None
    split: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item of a dataset; `place` sorts the items of a version."""

    place: int
    id: str
    digest: str
    body: bytes
    group: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items of a version are wanted: those with all of what is given."""

    ids: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    split: str | None = None
    group: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


ALL_ITEMS = ItemFilter()


@dataclass(frozen=True, slots=True)
class ItemsAdded:
    """What became of items: how many are new, and the lines with the id of a different item."""

    added: int
    clashes: tuple[int, ...] = ()


class DatasetStore(VersionStore[DatasetVersion], Protocol):
    """Keeps datasets and their items.

    An upload is invisible until it is published as a version, so that it is all there or not at
    all, and two at once do not mix.
    """

    async def create(
        self, tenant: str, name: str, description: str, schema: Mapping[str, Any] | None
    ) -> DatasetVersion:
        """Version 0; raises `RequestError` (`conflict`) where the name is taken or reserved."""
        ...

    async def open_upload(self, dataset: DatasetVersion) -> int:
        """A new upload, which belongs to no version yet."""
        ...

    async def add_items(
        self, upload: int, items: Sequence[NewItem], *, beside: Sequence[int] = ()
    ) -> ItemsAdded:
        """Add items; one that the upload, or one of those `beside` it, has already is passed by."""
        ...

    async def publish(self, upload: int, *, append: bool) -> DatasetVersion:
        """Make the upload the newest version: alone, or after the items of the version before.

        Raises `RequestError` (`conflict`) if the dataset is gone, or if another version was
        published since an upload that appends was opened.
        """
        ...

    async def discard(self, upload: int) -> None:
        """Remove an upload that is not published."""
        ...

    async def items(
        self, version: DatasetVersion, *, after: int, limit: int, wanted: ItemFilter = ALL_ITEMS
    ) -> Sequence[StoredItem]:
        """Items in order, those after the place `after`."""
        ...

    async def places(self, version: DatasetVersion, ids: Sequence[str]) -> Mapping[str, int]:
        """The places of items by their ids."""
        ...

    async def count(self, version: DatasetVersion, wanted: ItemFilter = ALL_ITEMS) -> int:
        """How many items there are."""
        ...

    async def splits(self, version: DatasetVersion) -> Mapping[str | None, int]:
        """How many items each split has; under None those without one."""
        ...

    async def sample(
        self, version: DatasetVersion, limit: int, wanted: ItemFilter = ALL_ITEMS
    ) -> Sequence[StoredItem]:
        """Up to `limit` items from all over the version, always the same ones."""
        ...

    async def items_called(
        self, version: DatasetVersion, ids: Sequence[str]
    ) -> Mapping[str, StoredItem]:
        """The items with these ids, those that there are."""
        ...

    async def item(self, tenant: str, place: int) -> StoredItem | None:
        """One item, whatever versions it belongs to; None if it was erased."""
        ...
