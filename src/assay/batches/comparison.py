"""Two runs over the same items, compared: these values are a response as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from assay.domain.completion import doc

Measure = Literal["score", "pass_rate"]
Verdict = Literal["regression", "improvement", "no_significant_change"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The candidate less the base in one measure, over the rows that both scored."""

    measure: Measure
    base: float | None
    candidate: float | None
    difference: float | None
    ci95: tuple[float, float] | None = field(metadata=doc("Paired, and clustered by group."))
    rows: int
    groups: int = field(metadata=doc("Independent groups; a row without one is its own."))
    test: Literal["mcnemar", "sign_flip"]
    p_value: float | None = field(metadata=doc("Null where nothing can be tested."))
    p_adjusted: float | None = field(
        metadata=doc("After Benjamini and Hochberg, over all criteria and measures.")
    )
    verdict: Verdict | None = field(metadata=doc("By the adjusted p at 0.05."))
    smallest_detectable: float | None = field(
        metadata=doc("A true difference of this size is found with a probability of 80 %.")
    )
    bounds: tuple[float, float] = field(
        metadata=doc("The difference over all rows, whatever the unscored ones would have got.")
    )
    regressed: int
    improved: int
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangedSide:
    """A row in one run."""

    score: float | None
    passed: bool | None
    reason: str | None = field(metadata=doc("Why it is unscored."))
    item_index: int | None = field(
        metadata=doc("As `cursor` of the results, it leads to the row's result.")
    )


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row in both runs."""

    item_id: str
    base: ChangedSide
    candidate: ChangedSide


@dataclass(frozen=True, slots=True)
class ChangedRows:
    """How many rows, and the first of them."""

    total: int
    rows: tuple[ChangedRow, ...]


@dataclass(frozen=True, slots=True)
class ComparedCriterion:
    """One criterion in both runs."""

    name: str
    type: str
    differences: tuple[Difference, ...]
    regressions: ChangedRows = field(metadata=doc("Rows with a lost pass or lower score first."))
    improvements: ChangedRows
    unscored: ChangedRows = field(metadata=doc("Rows that one run alone left unscored."))
    base_judges: Mapping[str, int] = field(metadata=doc("Scored rows by the model that judged."))
    candidate_judges: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ItemList:
    """How many items, and the ids of the first of them."""

    total: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of the two runs."""

    id: str
    name: str | None
    rows: int
    revisions: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True, slots=True)
class BatchComparison:
    """The candidate compared to the base."""

    object: Literal["batch.comparison"] = field(default="batch.comparison", kw_only=True)
    base: ComparedRun
    candidate: ComparedRun
    regression: bool | None = field(
        metadata=doc("Whether any criterion is significantly worse; null where none can be tested.")
    )
    comparable: bool = field(metadata=doc("False where a warning says what differs."))
    warnings: tuple[str, ...]
    statements: tuple[str, ...] = field(metadata=doc("What can be said, and what cannot."))
    items_common: int
    items_only_base: ItemList
    items_only_candidate: ItemList
    criteria: tuple[ComparedCriterion, ...]
