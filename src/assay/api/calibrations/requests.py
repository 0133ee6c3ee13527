"""What calibrations and draws take."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from assay.api.requests import EvaluatorReference
from assay.batches.labelled import JudgedResults, LabelledBatches
from assay.criteria.frozen import Frozen
from assay.criteria.locations import require_one
from assay.http.problems import invalid_request

LABELS_DRAWN_MAX = 10_000
SEED_MAX = 2**53 - 1

Name = Annotated[str, Field(min_length=1, max_length=256)]
Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX, strict=True)]


class LabelFilter(Frozen):
    """Which labels count."""

    annotators: list[Name] = Field(default=[], max_length=100)
    metadata: dict[str, Any] = Field(default={}, max_length=20)
    split: Name | None = Field(default=None, description="Labels of the dataset's items in it.")
    draw: str | None = Field(
        default=None,
        description="A draw of rows to label. Its labels, weighted, correct the mean.",
    )


class CascadeGoalRequest(Frozen):
    """The guarantee that is wanted of a cascade."""

    alpha: float = Field(
        ge=0, lt=1, description="At most this share of accepted verdicts disagrees with people,"
    )  # fmt: skip
    delta: Share = Field(description="except with this probability.")
    unsure_cost_usd: float | None = Field(
        default=None, ge=0, allow_inf_nan=False,
        description="What a case costs that no judge decides; by default ten times the cascade.",
    )  # fmt: skip


class ResultsRequest(Frozen):
    """The results that are meant: those of `batch`, or of the newest batch over both others."""

    batch: Name | None = None
    evaluator: EvaluatorReference | None = None
    dataset: EvaluatorReference | None = None

    @model_validator(mode="after")
    def _names_results(self) -> Self:
        require_one(self, "batch", "evaluator")
        require_one(self, "batch", "dataset")
        return self


class CalibrationRequest(ResultsRequest):
    """Results to compare with labels, and what is wanted."""

    criteria: list[Name] | None = Field(default=None, min_length=1, max_length=50)
    labels: LabelFilter = LabelFilter()
    precision_min: Share | None = Field(
        default=None, description="Propose the lowest threshold of this precision, not the best κ."
    )
    confidence: Share = 0.95
    seed: Seed = Field(default=0, description="The same seed gives the same figures.")
    cascade: CascadeGoalRequest | None = None


class DrawRequest(ResultsRequest):
    """Results whose rows are to be labelled: so many, or as many as an interval takes."""

    criterion: Name
    labels: float | None = Field(
        default=None, gt=0, le=LABELS_DRAWN_MAX, description="How many rows, on average."
    )
    half_width: float | None = Field(
        default=None, gt=0, le=0.5,
        description="Draw as many as a mean with an interval of ± this takes.",
    )  # fmt: skip
    confidence: Share = Field(default=0.9, description="Of that interval.")
    floor: Share = Field(
        default=0.2, description="The share of labels that is spread evenly over all rows."
    )
    seed: Seed | None = Field(default=None, description="By default drawn, and shown.")

    @model_validator(mode="after")
    def _says_how_many(self) -> Self:
        require_one(self, "labels", "half_width")
        return self


async def results_of(
    labelled: LabelledBatches, tenant: str, wanted: ResultsRequest
) -> JudgedResults:
    """The results that a request names; raises `RequestError`."""
    if wanted.batch is not None:
        return await labelled.find(tenant, wanted.batch)
    return await labelled.newest(tenant, wanted.evaluator or "", wanted.dataset or "")


def chosen_criteria(results: JudgedResults, names: list[str] | None) -> tuple[str, ...]:
    """The criteria of a batch, or those of them that are named; raises `RequestError`."""
    for place, name in enumerate(names or ()):
        check_criterion(results, name, f"/criteria/{place}")
    return tuple(dict.fromkeys(names)) if names else results.criteria


def check_criterion(results: JudgedResults, name: str, pointer: str) -> None:
    """Raises `RequestError` unless the batch has the criterion."""
    if name not in results.criteria:
        raise invalid_request(pointer, "the batch has no criterion of this name")
