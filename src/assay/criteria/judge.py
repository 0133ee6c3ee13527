"""Who judges, as a request says it: models in order, or a cascade of judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.frozen import Frozen
from assay.criteria.locations import fault_at
from assay.domain.cascade import TIERS_MAX
from assay.domain.evaluation import (
    Aggregate,
    CascadeSpec,
    Fallback,
    InjectionPolicy,
    JudgeService,
    JudgeSpec,
    LongInput,
    OnRefusal,
    Strategy,
    WhereUnsure,
)
from assay.domain.languages import language_of, unknown_language
from assay.domain.sampling import Effort


def _language(tag: str) -> str:
    if language_of(tag) is None:
        raise PydanticCustomError("unknown_language", "{fault}", {"fault": unknown_language(tag)})
    return tag


class JudgeTier(Frozen):
    """Which models judge, in which order, and how often each is asked."""

    models: tuple[str, ...] = Field(
        default=(),
        min_length=1,
        max_length=16,
        description="Distinct model ids, in order.",
        json_schema_extra={"uniqueItems": True},
    )
    strategy: Strategy | None = Field(default=None, description="How the next model is chosen.")
    samples: int = Field(default=1, ge=1, le=32, description="How often the question is asked.")
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    top_p: float | None = Field(default=None, ge=0, le=1, description="Nucleus sampling.")
    reasoning_effort: Effort | None = Field(
        default=None,
        description="How much a model thinks before it answers; absent: as it is configured.",
    )
    thinking_budget_tokens: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="How many tokens a model may think (Anthropic, Gemini); 0 for none.",
    )
    fallback: Fallback = Field(default="any", description="Which other models may step in.")
    on_refusal: OnRefusal | None = Field(
        default=None,
        description="Whether a refusal or a content filter goes to the next model (next) or ends "
        "the call (stop); absent: as the judge is configured, else next.",
    )
    hedge: bool | None = Field(
        default=None,
        description="Whether a call that takes longer than 95 % of the model's calls is sent to "
        "the next model too, and the first verdict counts; absent: as the judge is configured, "
        "else not.",
    )
    aggregate: Aggregate | None = Field(
        default=None,
        description="How votes are counted; absent: majority of labels, mean of numbers.",
    )
    long_input: LongInput = Field(
        default="reject",
        description="How a text that is too long for the judge's window is treated.",
    )

    @field_validator("models")
    @classmethod
    def _models_differ(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) < len(models):
            raise PydanticCustomError("models_alike", "models must be distinct")
        return models


TierField = Annotated[str, Field(min_length=1)] | JudgeTier
Confidence = Annotated[float, Field(ge=0, le=1)]


class Cascade(Frozen):
    """Judges from cheap to dear: the next one is asked where the one before is unsure."""

    tiers: tuple[TierField, ...] = Field(
        min_length=2,
        max_length=TIERS_MAX,
        description="The judges in order, each as a name or with what the judge around it leaves "
        "open.",
    )
    thresholds: tuple[Confidence, ...] | None = Field(
        default=None,
        description="The least confidence of each tier's verdict; absent: those of the evaluator's "
        "certificate, else every tier is asked and the last one decides.",
    )
    otherwise: WhereUnsure = Field(
        default="unscored",
        description="Where no tier is sure enough: unscored with `judge_unsure`, or the verdict of "
        "the last one.",
    )

    @model_validator(mode="after")
    def _one_threshold_each(self) -> Self:
        if self.thresholds is not None and len(self.thresholds) != len(self.tiers):
            fault = PydanticCustomError(
                "thresholds_count", "must be as many as there are tiers, or absent"
            )
            raise fault_at(("thresholds",), fault, self.thresholds)
        return self


class Judge(JudgeTier):
    """Which models judge and how, or a cascade of judges."""

    max_cost_usd: float | None = Field(
        default=None,
        gt=0,
        description="Limit on the cost of all judge calls of the request together.",
    )
    cache: bool = Field(
        default=False, description="Whether a stored answer to the same question may be used."
    )
    injection: InjectionPolicy = Field(
        default="flag",
        description="What follows from signs of prompt injection: flag the score, quarantine the "
        "case (unscored), verify the verdict (the judge is asked again without what is suspect), "
        "or off (not searched).",
    )
    language: Annotated[str, AfterValidator(_language)] | None = Field(
        default=None,
        description="The language of the explanations, such as `de` or `pt-BR`. Absent: as the "
        "judge is configured, else that of the input.",
    )
    batch_criteria: bool = Field(
        default=False, description="Put several criteria of a case into one call."
    )
    prefix_cache: bool | None = Field(
        default=None,
        description="Whether one call about a long case goes first, so that the others read the "
        "case from the provider's cache; absent: in batches whose `service` is `interactive`.",
    )
    service: JudgeService = Field(
        default="interactive",
        description="`batch`: the rows of a batch are judged through the providers' batch APIs, "
        "at their lower price and within a day. For batches only.",
    )
    cascade: Cascade | None = Field(
        default=None,
        description="Judges one after the other, in place of `models` and `strategy`. Not for "
        "comparisons.",
    )

    @model_validator(mode="after")
    def _either_models_or_a_cascade(self) -> Self:
        if self.cascade is not None and (self.models or self.strategy):
            fault = PydanticCustomError(
                "cascade_beside_models", "must not have models or a strategy beside a cascade"
            )
            raise fault_at(("cascade",), fault, self.cascade)
        return self


JudgeField = Annotated[str, Field(min_length=1)] | Judge

DEFAULT_JUDGE = JudgeSpec()


def judge_spec(
    judge: TierField | Mapping[str, Any] | None, default: JudgeSpec = DEFAULT_JUDGE
) -> JudgeSpec:
    """The domain's value for a `judge` field or its JSON; what it leaves open is as in `default`.

    A criterion that names its judge keeps the request's policies, such as `injection` and
    `max_cost_usd`. A plain name means a configured judge, with its own models and strategy.
    """
    if judge is None:
        return default
    if isinstance(judge, str):
        return replace(default, name=judge, models=(), strategy=None, cascade=None)
    if isinstance(judge, Mapping):
        judge = Judge.model_validate(judge)
    given = {name: getattr(judge, name) for name in judge.model_fields_set}
    cascade = given.pop("cascade", None)
    if cascade is not None:
        shared = replace(default, models=(), strategy=None, cascade=None, **given)
        tiers = tuple(judge_spec(tier, shared) for tier in cascade.tiers)
        chosen = CascadeSpec(tiers, cascade.thresholds, cascade.otherwise)
        return replace(shared, cascade=chosen)
    if "models" in given:
        # The other list's strategy says nothing about these models.
        given.setdefault("strategy", None)
    if "strategy" in given:
        given["cascade"] = None
    elif default.cascade is not None:
        tiers = tuple(replace(tier, **given) for tier in default.cascade.tiers)
        given["cascade"] = replace(default.cascade, tiers=tiers)
    return replace(default, **given)
