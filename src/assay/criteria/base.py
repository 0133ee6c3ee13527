"""What all criteria share: their fields, their finding, and the two ways to reach one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import no_info_before_validator_function

from assay.domain.completion import Completion
from assay.domain.evaluation import (
    Aggregate,
    Case,
    Fallback,
    InjectionPolicy,
    JudgeSign,
    JudgeSpec,
    LongInput,
    OnRefusal,
    ReadFrom,
    Strategy,
)
from assay.domain.sampling import Effort
from assay.prompts.templates import render
from assay.prompts.untrusted import UntrustedContent, case_content
from assay.verdicts.answer_format import Scales
from assay.verdicts.forms import AnyScale, FormName
from assay.verdicts.reader import PLAIN, Protocol, Reading, read_verdict, read_verdicts

T_co = TypeVar("T_co", covariant=True)

NAME_CHARS_MAX = 200
FIELDS_MAX = 100
"""An object with more fields is refused unread: each would be an error of its own."""
TEXT_CHARS_MAX = 100_000
"""Longest text parameter of a criterion; the case itself is bounded by the body limit."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return text


Prose = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX), AfterValidator(_not_blank)]
"""Words that a judge follows; white space alone would cost a call and ask nothing."""


def _without_coercion(schema: Any) -> Any:
    """The schema with the types of JSON: "5" is no number, 1 is no boolean, and 5.0 is whole.

    pydantic's own strict mode would also refuse a list for a tuple.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(map(_without_coercion, schema))
    if not isinstance(schema, dict):
        return schema
    kept = {"default", "expected", "metadata"}
    plain = {k: v if k in kept else _without_coercion(v) for k, v in schema.items()}
    if plain.get("type") in ("bool", "float"):
        return plain | {"strict": True}
    if plain.get("type") == "int":
        return no_info_before_validator_function(_whole, plain | {"strict": True})
    return plain


def _whole(value: Any) -> Any:
    """5.0 as 5, up to where a floating-point number still has all its digits."""
    exact = isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53
    return int(value) if exact else value


class Frozen(BaseModel):
    """A value that a request holds: unknown fields are errors, and parsing ends all changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return _without_coercion(handler(source))

    @model_validator(mode="before")
    @classmethod
    def _limit_fields(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and len(value) > FIELDS_MAX:
            raise PydanticCustomError(
                "too_many_fields", "must have at most {most} fields", {"most": FIELDS_MAX}
            )
        return value


class Judge(Frozen):
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
    aggregate: Aggregate | None = Field(
        default=None,
        description="How votes are counted; absent: majority of labels, mean of numbers.",
    )
    batch_criteria: bool = Field(
        default=False, description="Put several criteria of a case into one call."
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


JudgeField = Annotated[str, Field(min_length=1)] | Judge

Need = Literal["input", "reference", "context", "tools", "expected_tools"]
"""A field that a case must have for a criterion to apply."""

DEFAULT_JUDGE = JudgeSpec()


def judge_spec(judge: JudgeField | None, default: JudgeSpec = DEFAULT_JUDGE) -> JudgeSpec:
    """The domain's value for a `judge` field; what it leaves open is as in `default`.

    A criterion that names its judge keeps the request's policies, such as `injection` and
    `max_cost_usd`. A plain name means a configured judge, with its own models and strategy.
    """
    if judge is None:
        return default
    if isinstance(judge, str):
        return replace(default, name=judge, models=(), strategy=None)
    given = {name: getattr(judge, name) for name in judge.model_fields_set}
    if "models" in given:
        # The other list's strategy says nothing about these models.
        given.setdefault("strategy", None)
    return replace(default, **given)


class Criterion(Frozen, ABC):
    """The fields that all criteria share; a subclass adds its own and its `type` literal."""

    family: ClassVar[str]
    default_threshold: ClassVar[float] = 1.0
    scale: ClassVar[str] = "0 to 1"
    """The scores it can give, for the catalogue."""
    needs: ClassVar[tuple[Need, ...]] = ()
    """What a case must have, whatever the parameters."""
    example: ClassVar[Mapping[str, Any]]
    """A request (without `judge`) that shows the criterion in use; the catalogue lists it."""

    type: str
    name: str | None = Field(default=None, min_length=1, max_length=NAME_CHARS_MAX)
    weight: float = Field(default=1.0, ge=0, le=1_000_000)
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="Lowest passing score, 0 to 1."
    )
    required: bool = Field(
        default=False, description="If it fails, no judge is asked and judging costs nothing."
    )
    negate: bool = Field(
        default=False, description="Reverse the verdict: 1 − score, and what passed fails."
    )

    def passing_score(self) -> float:
        """The lowest score that passes, 0 to 1, before `negate` reverses the verdict."""
        return self.default_threshold if self.threshold is None else self.threshold


@dataclass(frozen=True, slots=True)
class Finding:
    """What a criterion found: `score` is normalised to 0..1, `value` is on its own scale.

    `passed` is the criterion's own verdict; None where the threshold decides. `probability_left`
    is set where the score is weighted by log-probabilities: the probability that the model gave to
    tokens that are no verdict. `read_from` is where a judge's verdict was read.
    """

    score: float
    value: Any = None
    label: str | None = None
    explanation: str = ""
    passed: bool | None = None
    probability_left: float | None = None
    read_from: ReadFrom | None = None


class Check(Criterion):
    """A deterministic criterion: a pure function of the case."""

    inline_work_max: ClassVar[int] = 0
    """The most `work` that may be done on the event loop; 0: none, as wherever no bound is known.

    It follows from lengths alone and is tested at its worst case: a few milliseconds.
    """

    @property
    def compiles_late(self) -> bool:
        """Whether `compile` has no small bound on its cost, so that only a worker may pay it."""
        return False

    def compile(self) -> None:
        """Compile what the caller wrote; raises `ValidationError` with the place of a fault."""

    @model_validator(mode="after")
    def _compile_early(self) -> Self:
        if not self.compiles_late:
            self.compile()
        return self

    def work(self, size: int, case: Case) -> float:
        """How much the check looks at, where case and parameters together have this size.

        Infinite where no bound follows from lengths.
        """
        del case
        return size

    def load(self) -> None:
        """Import what the check needs: a worker process does so before its time limit starts."""

    @abstractmethod
    def check(self, case: Case) -> Finding:
        """The finding; raises `NotApplicable` where the case lacks what is needed."""


@dataclass(frozen=True, slots=True)
class Judgement(Generic[T_co]):
    """What an answer means, and how the judge saw the case try to sway it; None: it did not say."""

    verdict: T_co
    manipulation: JudgeSign | None = None


@dataclass(frozen=True, slots=True)
class Question(Generic[T_co]):
    """What is asked about a case, and what its verdicts mean.

    `task` is trusted: it says what to judge. `content` is the caller's untrusted text, each piece
    with the title that it is shown under. `scales` has a scale for each verdict, the only one under
    the name ''; `finding` turns the verdicts that were read into what they mean, and may raise
    `AnswerUnreadable`. Without `reasoning` the judge answers with the bare verdict. `forms` are the
    named forms in which the judge is declared to answer. Where the answer carries no
    log-probabilities, the question is asked `samples_else` times. `identity` tells this question
    from others with the same prompt whose verdicts mean something else.
    """

    task: str
    content: UntrustedContent
    scales: Scales
    finding: Callable[[Mapping[str, Reading[Any]]], T_co]
    prompt_version: str
    reasoning: bool = True
    forms: tuple[str, ...] = ()
    top_logprobs: int = 0
    max_output_tokens: int | None = None
    samples_else: int = 1
    identity: tuple[object, ...] = ()

    def read(self, completion: Completion[object], protocol: Protocol = PLAIN) -> Judgement[T_co]:
        """What the answer means; raises `AnswerUnreadable`, `AnswerTruncated`, `AnswerRefused`."""
        if not self.reasoning and completion.finish == "length":
            # The limit of a few tokens is ours: what comes before it is the whole verdict or none.
            completion = replace(completion, finish="stop")
        if "" in self.scales:
            readings = {"": read_verdict(completion, self.scales[""], protocol)}
        else:
            readings = read_verdicts(completion, self.scales, protocol)
        saw = next(iter(readings.values())).manipulation
        return Judgement(self.finding(readings), saw)


class AsksModel(Criterion):
    """A criterion that asks a model: a judge, or one that embeds texts."""

    @abstractmethod
    def judged_by(self, default: JudgeSpec) -> JudgeSpec | None:
        """Which models are asked, where the request's judge is `default`; None: none."""

    @property
    def output_paths(self) -> tuple[str, ...]:
        """The members of the output's JSON that the question shows."""
        return ()

    @abstractmethod
    def question(self, case: Case) -> Question[Finding]:
        """What to ask; raises `NotApplicable` where the case lacks what is needed."""

    def questions(self, case: Case) -> Sequence[Question[Finding]]:
        """All questions, where one is not enough."""
        return (self.question(case),)

    def calls_max(self, members: int, samples: int) -> int:
        """The most calls for one case, where each of `members` is asked `samples` times."""
        return members * samples

    def combined(self, findings: Sequence[Finding]) -> Finding:
        """The finding that the findings of all `questions` make, in their order."""
        return findings[0]

    def short_circuit(self, case: Case) -> Finding | None:
        """The finding that needs no model; None where one has to be asked."""
        del case
        return None


class Judged(AsksModel):
    """A criterion that asks a judge."""

    judge: JudgeField | None = Field(
        default=None, description="Overrides the request's judge, in what it gives."
    )
    reading: FormName | None = Field(
        default=None, description="The form in which this judge is known to write its verdict."
    )

    def judged_by(self, default: JudgeSpec) -> JudgeSpec:
        return judge_spec(self.judge, default)

    @property
    def has_own_budget(self) -> bool:
        """Whether this criterion's judge sets its own `max_cost_usd`."""
        return isinstance(self.judge, Judge) and "max_cost_usd" in self.judge.model_fields_set

    def ask(
        self,
        case: Case,
        version: str,
        scale: AnyScale,
        finding: Callable[[Mapping[str, Reading[Any]]], Finding],
        **values: Any,
    ) -> Question[Finding]:
        """One question about the whole case, whose task is the template `version`."""
        return Question(
            task=render(version, **values),
            content=case_content(case),
            scales={"": scale},
            finding=finding,
            prompt_version=version,
            forms=self.forms,
        )

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that are declared for this criterion's judge."""
        return () if self.reading is None else (self.reading,)
