"""The results of a batch beside what people say of the same cases."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.catalog.labels import case_digest
from assay.catalog.stores import Stores
from assay.domain.batches import StoredResult
from assay.domain.exact_json import loads
from assay.domain.labels import SCORE_MAX, HumanLabel
from assay.domain.records import DatasetVersion, StoredItem

LABELS_AT_ONCE = 1_000
NAN = math.nan
_WORTH = ({"first": 1.0, "tie": 0.5, "second": 0.0}, {"first": 0.0, "tie": 0.5, "second": 1.0})
"""What a vote's position is worth to the output: where it is shown first, and where second."""


def _column() -> array[float]:
    return array("d")


@dataclass(frozen=True, slots=True)
class WantedLabels:
    """Which labels count: those of some annotators, with these metadata, of items of one split."""

    annotators: frozenset[str] = frozenset()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None

    @classmethod
    def from_json(cls, labels: Mapping[str, Any]) -> WantedLabels:
        """Those of a calibration's `labels`."""
        return cls(frozenset(labels["annotators"]), labels["metadata"], labels["split"])

    def has(self, label: HumanLabel) -> bool:
        """Whether the label counts, whatever its item is."""
        return (not self.annotators or label.annotator in self.annotators) and all(
            label.metadata.get(name) == value for name, value in self.metadata.items()
        )


@dataclass(slots=True)
class CriterionVerdicts:
    """The results of one criterion, one for each row; NaN, None or an empty text is missing.

    `probabilities` are those of a pass, from votes or from the tokens of a yes or no; `spreads` say
    how unsure the judge is. `straight` and `swapped` are the preferences for the output in both
    orders of showing it beside another. What is kept of labelled rows alone is a mapping by row.
    """

    models: list[str] = field(default_factory=list)
    passed: array[float] = field(default_factory=_column)
    scores: array[float] = field(default_factory=_column)
    values: array[float] = field(default_factory=_column)
    probabilities: array[float] = field(default_factory=_column)
    spreads: array[float] = field(default_factory=_column)
    straight: array[float] = field(default_factory=_column)
    swapped: array[float] = field(default_factory=_column)
    labels: list[str | None] = field(default_factory=list)
    cascades: dict[int, dict[str, Any]] = field(default_factory=dict)
    human: list[tuple[int, HumanLabel]] = field(default_factory=list)

    @property
    def is_pairwise(self) -> bool:
        """Whether some rows were judged in both orders."""
        return not all(map(math.isnan, self.straight))

    def add(self, result: Mapping[str, Any], labels: Sequence[HumanLabel]) -> None:
        """Add the next row."""
        row, judge = len(self.models), result.get("judge") or {}
        value, label = result.get("value"), result.get("label")
        score = _number(result.get("score"))
        probability = _pass_probability(result, judge)
        self.models.append(judge.get("model") or "")
        self.passed.append(_number(result.get("passed")))
        self.scores.append(score)
        self.values.append(score if isinstance(value, bool) else _number(value, score))
        self.probabilities.append(probability)
        if math.isnan(probability):
            self.spreads.append(_number(judge.get("spread")))
        else:
            self.spreads.append(math.sqrt(probability * (1 - probability)))
        straight, swapped = _both_orders(result, judge)
        self.straight.append(straight)
        self.swapped.append(swapped)
        self.labels.append(label)
        if labels:
            if judge.get("cascade"):
                self.cascades[row] = judge["cascade"]
            self.human += [(row, one) for one in labels]


@dataclass(slots=True)
class JudgedBatch:
    """The rows of a batch that have a result, with their `places` in it.

    `groups` are empty for rows that stand alone.
    """

    places: array[int] = field(default_factory=lambda: array("q"))
    item_ids: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    criteria: dict[str, CriterionVerdicts] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    """How many rows each revision judged."""


async def judged_labels(
    stores: Stores,
    tenant: str,
    batch_id: str,
    results: AsyncIterator[Sequence[StoredResult]],
    dataset: DatasetVersion | None,
    criteria: Sequence[str],
    wanted: WantedLabels,
    *,
    made_outputs: bool,
) -> JudgedBatch:
    """The batch's results by the criteria, with the labels of each row.

    A label is of a row if it names it, or if it is of the same case with the same output: where the
    batch made the outputs, only those that name it.
    """
    by_item, by_digest = await _labels(stores, tenant, batch_id, wanted)
    judged = JudgedBatch(criteria={name: CriterionVerdicts() for name in criteria})
    async for page in results:
        ids = [one.item_id for one in page]
        items = await stores.datasets.items_called(dataset, ids) if dataset else {}
        for one in page:
            item = items.get(one.item_id)
            labels = by_item.get(one.item_id, [])
            if item and by_digest and not made_outputs:
                labels = labels + by_digest.get(case_digest(loads(item.body)), [])
            if wanted.split is not None and (item is None or item.split != wanted.split):
                labels = []
            _add(judged, one, item, labels)
    return judged


async def _labels(
    stores: Stores, tenant: str, batch_id: str, wanted: WantedLabels
) -> tuple[dict[str, list[HumanLabel]], dict[str, list[HumanLabel]]]:
    """The labels that count, by the batch's item or by the hash of their case."""
    by_item: dict[str, list[HumanLabel]] = defaultdict(list)
    by_digest: dict[str, list[HumanLabel]] = defaultdict(list)
    before, more = "", True
    while more:
        page = await stores.labels.page(tenant, before, LABELS_AT_ONCE, superseded=False, wanted={})
        more = len(page) == LABELS_AT_ONCE
        for label in filter(wanted.has, page):
            if label.batch == batch_id:
                by_item[label.item_id].append(label)
            elif label.digest:
                by_digest[label.digest].append(label)
        before = page[-1].id if page else ""
    return by_item, by_digest


def _add(
    judged: JudgedBatch,
    one: StoredResult,
    item: StoredItem | None,
    labels: Sequence[HumanLabel],
) -> None:
    body = loads(one.body)
    found = {result["name"]: result for result in body.get("results") or ()}
    revision = (body.get("evaluator") or {}).get("revision")
    if revision:
        judged.revisions[revision] = judged.revisions.get(revision, 0) + 1
    judged.places.append(one.index)
    judged.item_ids.append(one.item_id)
    judged.groups.append((item.group if item else None) or "")
    for name, verdicts in judged.criteria.items():
        verdicts.add(found.get(name, {}), [label for label in labels if label.criterion == name])


def _pass_probability(result: Mapping[str, Any], judge: Mapping[str, Any]) -> float:
    votes = [vote["passed"] for vote in judge.get("votes") or () if vote.get("passed") is not None]
    if votes:
        return float(sum(votes) / len(votes))
    weighed = judge.get("score_method") in ("logprobs", "probability")
    if weighed and isinstance(result.get("value"), bool):
        return _number(result.get("score"))
    return NAN


def _both_orders(result: Mapping[str, Any], judge: Mapping[str, Any]) -> tuple[float, float]:
    """Which text won in each order: 1 for the output, 0 for the other, 0.5 for a tie."""
    votes = judge.get("votes") or ()
    # Several votes on one order have an agreement.
    of_orders = result.get("type") == "pairwise" and judge.get("agreement") is None
    if not of_orders or len(votes) != len(_WORTH):
        return NAN, NAN
    straight, swapped = (
        worth.get(vote["value"], NAN) for worth, vote in zip(_WORTH, votes, strict=True)
    )
    return straight, swapped


def _number(value: object, otherwise: float = NAN) -> float:
    if not isinstance(value, int | float):
        return otherwise
    return float(value) if abs(value) <= SCORE_MAX else NAN
