"""The responses about calibrations and draws: their OpenAPI schemas."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from assay.api.responses import ListResponse, Shape


class FigureResponse(Shape):
    """A number with its interval; what is missing has its reason in `statement`."""

    value: float | None
    interval: tuple[float, float] | None
    statement: str


class AgreementResponse(Shape):
    """How far the judge agrees with people."""

    rows: int
    groups: int = Field(description="Independent ones: rows of one group count once.")
    figures: dict[str, FigureResponse]
    statements: list[str] = Field(description="Read them first.")
    classes: list[float | str]
    confusion: list[list[int]] = Field(
        description="Counts by what people say (rows) and what the judge says (columns)."
    )


class CurvePointResponse(Shape):
    """What one threshold would give."""

    threshold: float
    precision: FigureResponse
    recall: FigureResponse
    accuracy: FigureResponse


class ThresholdResponse(Shape):
    """A proposed threshold, chosen on half of the labels and reported on the other."""

    value: float | None
    agreement: AgreementResponse | None
    statement: str
    curve: list[CurvePointResponse] = Field(
        default=[],
        description="At other thresholds, on the half that did not choose; each interval holds for "
        "its point alone. Reports of earlier versions have none.",
    )


class ReliabilityResponse(Shape):
    """How often claims of each probability of a pass are right."""

    bins: list[tuple[float, float, int]] = Field(
        description="Mean probability, share that people pass, and rows."
    )
    error: float | None = Field(description="The expected calibration error.")
    error_by_chance: float | None = Field(description="An error below it is no sign of anything.")
    statement: str


class DebiasedMeanResponse(Shape):
    """The mean of the batch, corrected by labels of a random sample."""

    debiased: FigureResponse
    labels_only: FigureResponse
    judge_only: FigureResponse
    judge_weight: float | None
    labels: int
    effective_labels: float | None = Field(
        description="How many labels alone would give so narrow an interval."
    )
    statements: list[str]


class CertificateResponse(Shape):
    """What was shown of a cascade; without thresholds, nothing was."""

    alpha: float
    delta: float
    thresholds: list[float | None] | None = Field(
        description="A verdict with this confidence is accepted; null where a tier is not asked."
    )
    statement: str
    cases: int
    accepted: int
    disagreements: int
    coverage: float
    shares: list[float] = Field(description="The share of cases that each tier decides.")
    cost: float = Field(description="Of one case, in USD.")
    attempts: int = Field(description="How often it was tried on these labels.")


class DisagreementResponse(Shape):
    """A row on which judge and people differ."""

    row: int = Field(description="The cursor of its result.")
    item_id: str | None = Field(description="Null if it was erased.")
    judge: float | str
    people: float | str


class LabelReportResponse(Shape):
    """What labels of one kind say of the judge."""

    of: Literal["passed", "label", "score"]
    statements: list[str]
    agreement: AgreementResponse
    by_model: dict[str, AgreementResponse] = Field(description="Where several models served.")
    people: dict[str, FigureResponse] = Field(
        description="How far people agree with each other: no judge can be expected to do better."
    )
    threshold: ThresholdResponse | None
    reliability: ReliabilityResponse | None
    debiased: DebiasedMeanResponse | None
    certificate: CertificateResponse | None
    disagreements: list[DisagreementResponse] = Field(description="At most 50, worst first.")


class CriterionCalibrationResponse(Shape):
    """What labels say of the judge of one criterion."""

    criterion: str
    labels: int
    statements: list[str]
    flip_rate: FigureResponse | None = Field(
        description="Of comparisons: how often the winner changes with the order."
    )
    reports: list[LabelReportResponse]


class CalibrationResponse(Shape):
    """How far a batch's judge agrees with people, and what follows from it."""

    id: str
    object: Literal["calibration"]
    created_at: str
    batch: str
    evaluator: str | None
    dataset: str | None
    labels: dict[str, Any]
    confidence: float
    seed: int
    cascade: dict[str, Any] | None
    certificate: str | None = Field(
        description="The certificate that is now kept with the evaluator: its thresholds apply."
    )
    rows: int
    revisions: dict[str, int] = Field(description="How many rows each revision judged.")
    statements: list[str]
    criteria: list[CriterionCalibrationResponse]


class CalibrationListResponse(ListResponse[dict[str, Any]]):
    """Calibrations, newest first; `item_id` is left out of disagreements."""


class LabelPlanResponse(Shape):
    """How many labels the interval takes."""

    labels: int | None
    labels_without_judge: int | None
    statement: str


class DrawnRowResponse(Shape):
    """A row to label: as `{"batch", "item_id"}`, or as the item of the dataset."""

    row: int
    item_id: str | None
    probability: float = Field(description="With which it was drawn: its label weighs 1 over it.")
    labelled: bool


class DrawOutlineResponse(Shape):
    """A draw of rows to label, without the rows."""

    id: str
    object: Literal["draw"]
    created_at: str
    batch: str
    dataset: str | None
    criterion: str
    seed: int
    floor: float
    rows: int = Field(description="Of the batch.")
    size: int = Field(description="How many of them were drawn.")
    plan: LabelPlanResponse | None


class DrawListResponse(Shape):
    """Draws, newest first."""

    object: Literal["list"]
    data: list[DrawOutlineResponse]
    has_more: bool
    next_cursor: str | None


class DrawResponse(DrawOutlineResponse):
    """Rows to label next."""

    unlabelled: int
    data: list[DrawnRowResponse]
