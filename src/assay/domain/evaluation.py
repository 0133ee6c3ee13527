"""What is judged, who judges it, and what the judgement says.

`CriterionResult`, `Evaluation` and all that they hold are responses as they stand: the API dumps
them field by field, and makes its OpenAPI schemas from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from assay.domain.cascade import CascadeCertificate, CascadeRecord, Thresholds
from assay.domain.completion import NO_USAGE, Attempt, Usage, doc
from assay.domain.errors import Reason, RequestError
from assay.domain.images import IMAGES_MAX, Image, image_in, images_in, replaced
from assay.domain.models import ModelKind
from assay.domain.policy import SpentQuota
from assay.domain.sampling import Effort

Message = Mapping[str, Any]
"""A chat message in the OpenAI shape: role, content, and for agents tool_calls.

In a `Case`, an `Image` stands in place of each content part that is one.
"""

Text = str | tuple[Message, ...]
Passage = str | Image

Status = Literal["scored", "unscored", "skipped"]
Fallback = Literal["any", "same_model", "none"]
Strategy = Literal["ordered", "cheapest", "fastest", "weighted", "panel"]
OnRefusal = Literal["next", "stop"]
"""What follows where a judge refuses or a provider filters: the next model is asked, or none."""
InjectionPolicy = Literal["flag", "quarantine", "verify", "off"]
"""What follows from signs of injection: the score is flagged, the case is not judged, the judge is
asked again without what is suspect, or nothing is searched."""
SearchSign = Literal[
    "delimiter", "control_tokens", "hidden_text", "verdict", "openers", "constant_answer"
]
"""How the structure of a text can show that it was written to sway its judge."""
JudgeSign = Literal["addresses_grader", "gives_instructions", "forges_verdict", "hides_text"]
"""What a judge can say of a case that tries to sway it."""
Sign = Literal[SearchSign, JudgeSign]
MANIPULATIONS: tuple[str, ...] = ("none", *get_args(JudgeSign))
"""What a judge is offered to say in its answer."""
ScoreMethod = Literal["single", "samples", "logprobs", "probability", "panel"]
Aggregate = Literal["mean", "median", "majority"]
JudgeService = Literal["interactive", "batch"]
"""Calls of their own, or jobs of the providers' batch APIs."""
LongInput = Literal["reject", "truncate", "map_reduce"]
WhereUnsure = Literal["unscored", "last"]
"""What a cascade gives where no judge is sure enough: no verdict, or that of the last judge."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to judge: an output, what it answers, and what it is compared to."""

    output: Text
    input: Text | None = None
    reference: tuple[Passage, ...] = ()
    context: tuple[Passage, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    expected_tools: tuple[Mapping[str, Any], ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    """All else that the caller's row has, for templates and programs."""
    sample: Mapping[str, Any] | None = None
    """The model's answer as an object; None where the output is all that there is of it."""
    output_members: Mapping[str, str | None] | None = field(default=None, repr=False)
    """Members of the output's JSON by their paths, once they are looked up."""

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Case:
        """A case from the checked fields of a request or a row; other fields are ignored.

        The case holds the very strings of `values`: nothing is copied but lists. Raises
        `RequestError` for too many images.
        """
        kept = {}
        for name in cls.__slots__:
            value = values.get(name)
            if value is not None:
                kept[name] = _kept(name, value) if isinstance(value, list | tuple) else value
        case = cls(**kept)
        if len(case.images) > IMAGES_MAX:
            raise RequestError("invalid_request", f"A case can have {IMAGES_MAX} images.")
        return case

    @property
    def images(self) -> list[Image]:
        """All images of the case."""
        return [
            image
            for value in (self.input, self.context, self.reference, self.output)
            if isinstance(value, tuple)
            for image in images_in(value)
        ]

    def with_images(self, found: Mapping[str, Image]) -> Case:
        """The case with fetched images, by their URLs."""

        def fetched(value: Any) -> Any:
            return tuple(replaced(value, image)) if isinstance(value, tuple) else value

        def image(part: Any) -> Image | None:
            return found.get(part.url) if isinstance(part, Image) else None

        return dataclasses.replace(
            self,
            output=fetched(self.output),
            input=fetched(self.input),
            reference=fetched(self.reference),
            context=fetched(self.context),
        )


def _kept(name: str, value: Sequence[Any]) -> Any:
    """The list of a field of a case, with its images as such."""
    match name:
        case "input" | "output":
            return tuple(replaced(value, image_in))
        case "context" | "reference":
            return tuple(replaced(value, lambda part: image_in(part) or part.get("text"), depth=0))
    return tuple(value)


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """Which models judge and how; `name` is a configured judge, `models` overrides its list.

    Two equal specifications mean the same judges. With the kind `embedding`, the models embed texts
    in place of judging.
    """

    name: str = "default"
    kind: ModelKind = "chat"
    models: tuple[str, ...] = ()
    strategy: Strategy | None = None
    samples: int = 1
    temperature: float | None = None
    seed: int | None = None
    top_p: float | None = None
    reasoning_effort: Effort | None = None
    thinking_budget_tokens: int | None = None
    fallback: Fallback = "any"
    on_refusal: OnRefusal | None = None
    hedge: bool | None = field(default=None, repr=False)
    max_cost_usd: float | None = None
    cache: bool = False
    injection: InjectionPolicy = "flag"
    language: str | None = None
    """The language of explanations; None: that of the input."""
    aggregate: Aggregate | None = None
    batch_criteria: bool = False
    long_input: LongInput = "reject"
    prefix_cache: bool | None = field(default=None, repr=False)
    service: JudgeService = "interactive"
    cascade: CascadeSpec | None = field(default=None, repr=False)
    """Judges one after the other, in place of these models."""

    @property
    def requested(self) -> str:
        """What the caller asked for: the first model of the list, else the judge's name."""
        return self.models[0] if self.models else self.name


@dataclass(frozen=True, slots=True)
class CascadeSpec:
    """Judges from cheap to dear: the next one is asked where the one before is unsure.

    Without thresholds all of them are asked, and the last one decides.
    """

    tiers: tuple[JudgeSpec, ...]
    thresholds: Thresholds | None = None
    otherwise: WhereUnsure = "unscored"


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Where a verdict was read in the judge's answer."""

    method: str = field(
        metadata=doc("`structured`, `marked`, `prose`, or `form:` and the name of the form.")
    )
    excerpt: str = field(
        metadata=doc("What was read as the verdict; the call's random marker is shown as `…`.")
    )


@dataclass(frozen=True, slots=True)
class Vote:
    """One of several verdicts on one question; one without a score does not count."""

    provider: str
    model: str
    score: float | None = None
    value: Any = None
    label: str | None = None
    passed: bool | None = None
    explanation: str = ""
    reason: Reason | None = field(default=None, metadata=doc("Why this one does not count."))
    read_from: ReadFrom | None = None


@dataclass(frozen=True, slots=True)
class PanelRecord:
    """How many models a panel has, and how many of them gave a verdict."""

    asked: int
    answered: int


@dataclass(frozen=True, slots=True)
class SharedCall:
    """A call that several criteria shared."""

    criteria: int
    input_tokens: int = field(metadata=doc("Of the whole call."))
    input_tokens_saved: int = field(
        metadata=doc("Estimated, compared with one call for each criterion.")
    )


@dataclass(frozen=True, slots=True)
class LongInputRecord:
    """How a text beyond the judge's window was judged; sizes in characters."""

    method: LongInput
    title: str
    chars: int
    chars_kept: int
    parts: int


@dataclass(frozen=True, slots=True)
class JudgeRecord:
    """Who judged, and every call that it took."""

    provider: str
    model: str
    requested: str
    prompt_version: str
    score_method: ScoreMethod
    attempts: tuple[Attempt, ...]
    votes: tuple[Vote, ...] = field(
        default=(), metadata=doc("Each verdict, where there were several.")
    )
    spread: float | None = field(
        default=None,
        metadata=doc("Standard deviation of the votes, on the criterion's own scale."),
    )
    agreement: float | None = field(
        default=None, metadata=doc("Share of the votes that equal the most frequent one.")
    )
    panel: PanelRecord | None = None
    probability_left: float | None = field(
        default=None,
        metadata=doc("Probability that the model gave to tokens that are no verdict."),
    )
    read_from: ReadFrom | None = field(
        default=None, metadata=doc("Where the verdict was read; with several, see `votes`.")
    )
    shared_call: SharedCall | None = None
    long_input: LongInputRecord | None = None
    cascade: CascadeRecord | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A sign that the case was written to sway its judge."""

    sign: Sign
    field: str | None = dataclasses.field(
        default=None,
        metadata=doc("The field of the case that shows it; null where the judge saw it."),
    )
    excerpt: str = dataclasses.field(
        default="",
        metadata=doc("What shows it, escaped, at most 80 characters; else empty."),
    )
    source: Literal["search", "judge"] = dataclasses.field(
        default="search", metadata=doc("Who noticed it: the search before the call, or the judge.")
    )


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """One criterion: scored, or not and why."""

    name: str
    type: str
    status: Status
    score: float | None = field(default=None, metadata=doc("Normalised, 0 to 1.", ge=0, le=1))
    value: Any = field(default=None, metadata=doc("The verdict on the criterion's own scale."))
    label: str | None = None
    passed: bool | None = None
    threshold: float | None = None
    weight: float = 1.0
    explanation: str = ""
    reason: Reason | None = field(default=None, metadata=doc("Why it is unscored or skipped."))
    judge: JudgeRecord | None = None
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    cached: bool = False
    simulated: bool = False
    suspect: tuple[Suspicion, ...] = field(
        default=(), metadata=doc("Signs of prompt injection in the case.")
    )


@dataclass(frozen=True, slots=True)
class NamedVersion:
    """The name of an evaluator, the number of one of its versions, and that one's certificate."""

    name: str
    version: int
    certificate: CascadeCertificate | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class EvaluatorRecord:
    """Which evaluator gave a result; inline criteria have neither a name nor a version."""

    revision: str = field(
        metadata=doc(
            "Changes with everything that can change a verdict: the criteria and their defaults, "
            "the models that may judge and how they are asked, the prompts, and how answers are "
            "read. Results of different revisions are not comparable."
        )
    )
    name: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results of one case, and what they add up to."""

    id: str
    object: Literal["evaluation"] = field(default="evaluation", kw_only=True)
    created_at: str
    status: Literal["completed", "partial"]
    passed: bool | None = field(
        metadata=doc("Null where no criterion failed but one is unscored: never true by default.")
    )
    score: float | None = field(metadata=doc("Weighted mean of what was scored.", ge=0, le=1))
    results: tuple[CriterionResult, ...]
    usage: Usage
    cost_usd: float
    latency_ms: float
    evaluator: EvaluatorRecord
    simulated: bool = field(
        default=False, metadata=doc("Whether any verdict is simulated: no model was asked.")
    )
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetryAdvice:
    """When a failed request may be sent again, and the quota it has to wait for, if any."""

    after_s: float
    spent: SpentQuota | None = None


def soonest(advice: Iterable[RetryAdvice | None]) -> RetryAdvice | None:
    """The advice with the shortest wait; of equal ones, that which names a quota."""
    given = [one for one in advice if one is not None]
    return min(given, key=lambda one: (one.after_s, one.spent is None), default=None)


def latest(advice: Iterable[RetryAdvice | None]) -> RetryAdvice | None:
    """The advice with the longest wait."""
    given = [one for one in advice if one is not None]
    return max(given, key=lambda one: one.after_s, default=None)


@dataclass(frozen=True, slots=True)
class EvaluationOutcome:
    """An evaluation, and when to try again where results failed for a transient reason."""

    evaluation: Evaluation
    retry: RetryAdvice | None = None
