"""Ended batches beside what people say of their cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.batches.lasting import LastingBatches
from assay.catalog.control_sets import CONTROL
from assay.catalog.evaluators import find_evaluator
from assay.catalog.judged_labels import JudgedBatch, WantedLabels, judged_labels
from assay.catalog.names import find_version
from assay.catalog.stores import OpenStores
from assay.domain.batches import BATCH_ID, Batch
from assay.domain.exact_json import loads
from assay.domain.records import DatasetVersion
from assay.http.problems import invalid_request

BATCHES_AT_ONCE, BATCHES_SEARCHED_MAX = 100, 10_000


@dataclass(frozen=True, slots=True)
class JudgedResults:
    """An ended batch, and what it was made with."""

    batch: Batch
    dataset: DatasetVersion | None
    evaluator: str | None
    criteria: tuple[str, ...]
    made_outputs: bool

    @property
    def dataset_name(self) -> str | None:
        """The dataset with its version."""
        return None if self.dataset is None else self.dataset.reference


class LabelledBatches:
    """Reads the results of batches beside labels; see `judged_labels`."""

    def __init__(self, lasting: LastingBatches, open_stores: OpenStores) -> None:
        self._lasting = lasting
        self._open_stores = open_stores

    async def find(self, tenant: str, batch_id: str) -> JudgedResults:
        """The batch, which must have ended; raises `RequestError`."""
        if not (batch := await self._found(tenant, batch_id)).ended:
            raise invalid_request("/batch", f"the batch is {batch.status}: it must have ended")
        shown = loads(batch.shown)
        dataset = None
        if shown.get("dataset"):
            store = (await self._open_stores()).datasets
            dataset = await find_version(store, tenant, shown["dataset"], "/dataset")
        names = tuple(criterion["name"] for criterion in shown["criteria"])
        made_outputs = bool(shown.get("generated_by"))
        return JudgedResults(batch, dataset, shown.get("evaluator"), names, made_outputs)

    async def newest(self, tenant: str, evaluator: str, dataset: str) -> JudgedResults:
        """The newest ended batch of an evaluator over a dataset; raises `RequestError`."""
        judge = await find_evaluator(self._open_stores, tenant, evaluator)
        store = (await self._open_stores()).datasets
        items = await find_version(store, tenant, dataset, "/dataset")
        if items is None:
            raise invalid_request("/dataset", f"there is no dataset {dataset}")
        both, before = (judge.reference, items.reference), ""
        for _ in range(BATCHES_SEARCHED_MAX // BATCHES_AT_ONCE):
            page = await self._lasting.list(tenant, before, BATCHES_AT_ONCE)
            for batch in page:
                shown = loads(batch.shown)
                found = (shown.get("evaluator"), shown.get("dataset"))
                partial = shown.get("retry_of") or shown.get("name") == CONTROL
                if batch.ended and found == both and not partial:
                    return await self.find(tenant, batch.id)
            if len(page) < BATCHES_AT_ONCE:
                break
            before = page[-1].id
        raise invalid_request(
            "/evaluator", f"no batch of {both[0]} over {both[1]} has ended: run one first"
        )

    async def read(
        self, results: JudgedResults, criteria: Sequence[str], wanted: WantedLabels
    ) -> JudgedBatch:
        """The results of these criteria, with their labels."""
        batch = results.batch
        return await judged_labels(
            await self._open_stores(), batch.tenant, batch.id, self._lasting.pages(batch),
            results.dataset, criteria, wanted, made_outputs=results.made_outputs,
        )  # fmt: skip

    async def item_id(self, tenant: str, batch_id: str, row: int) -> str | None:
        """The id of a row's item, if it is still there."""
        batch = await self._lasting.find(tenant, batch_id)
        if batch is None:
            return None
        page = await self._lasting.page(batch, row, 1)
        found = next((one.item_id for one in page.results if one.index == row), None)
        return found or None

    async def _found(self, tenant: str, batch_id: str) -> Batch:
        known = BATCH_ID.fullmatch(batch_id) is not None
        batch = await self._lasting.find(tenant, batch_id) if known else None
        if batch is None:
            raise invalid_request("/batch", f"there is no batch {batch_id[:100]}")
        return batch
