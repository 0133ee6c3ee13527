"""What all criteria share: their fields, their finding, and the two ways to reach one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar, cast

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.composite.formula import FORMULA_CHARS_MAX
from assay.criteria.frozen import Frozen
from assay.criteria.judge import Judge, JudgeField, judge_spec
from assay.domain.completion import Completion
from assay.domain.evaluation import Case, JudgeSign, JudgeSpec, ReadFrom
from assay.domain.models import DECISION
from assay.domain.prefix import CommonPrefix
from assay.prompts.templates import render
from assay.prompts.untrusted import UntrustedContent, case_content
from assay.verdicts.answer_format import Scales
from assay.verdicts.decisions import read_decisions, weights_of
from assay.verdicts.forms import AnyScale, FormName
from assay.verdicts.item_list import read_items
from assay.verdicts.reader import PLAIN, Protocol, Reading, read_verdict, read_verdicts

T_co = TypeVar("T_co", covariant=True)

NAME_CHARS_MAX = 200
TEXT_CHARS_MAX = 100_000
"""Longest text parameter of a criterion; the case itself is bounded by the body limit."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return text


Prose = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX), AfterValidator(_not_blank)]
"""Words that a judge follows; white space alone would cost a call and ask nothing."""

Need = Literal["input", "reference", "context", "tools", "expected_tools"]
"""A field that a case must have for a criterion to apply."""


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
    when: str | None = Field(
        default=None,
        min_length=1,
        max_length=FORMULA_CHARS_MAX,
        description="Ask only where this holds of the results of other criteria, by their names: "
        "`grounded.score >= 0.7 and not toxic.passed`. Else the criterion is skipped.",
    )

    def passing_score(self) -> float:
        """The lowest score that passes, 0 to 1, before `negate` reverses the verdict."""
        return self.default_threshold if self.threshold is None else self.threshold


@dataclass(frozen=True, slots=True)
class Finding:
    """What a criterion found: `score` is normalised to 0..1, `value` is on its own scale.

    `passed` is the criterion's own verdict; None where the threshold decides. `probability_left`
    is set where the score is weighted by log-probabilities: the probability that the model gave to
    tokens that are no verdict. `confidence` is how sure the judge was, where that is known: the
    share of votes for the verdict, of all that were asked for, or the verdict's own probability.
    `read_from` is where a judge's verdict was read. `verdict_score` is set where `score` is weighed
    by the probabilities of all labels: the score of the most probable one, which passes or fails
    where the caller gives no threshold.
    """

    score: float
    value: Any = None
    label: str | None = None
    explanation: str = ""
    passed: bool | None = None
    probability_left: float | None = None
    confidence: float | None = None
    read_from: ReadFrom | None = None
    verdict_score: float | None = None

    @property
    def own_score(self) -> float:
        """The score of the verdict itself, whatever it is weighed with."""
        return self.score if self.verdict_score is None else self.verdict_score


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
    from others with the same prompt whose verdicts mean something else. `tasks` are those of single
    verdicts, where each counts by itself. A `guided` one has the caller's words in its task.
    `prefix` is what its prompt begins with as that of other questions does.
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
    tasks: Mapping[str, str] = field(default_factory=dict)
    guided: bool = False
    prefix: CommonPrefix | None = None

    @property
    def kind(self) -> str:
        """The type of criterion that it belongs to."""
        return self.prompt_version.partition(".v")[0]

    def instructions(self, name: str) -> str:
        """What a model that decides is asked for the verdict of this name."""
        if name in self.tasks:
            return self.tasks[name]
        return f"{self.task}\n\nDecide on {name} alone." if name else self.task

    def found(self, readings: Mapping[str, Reading[Any]]) -> T_co:
        """What the verdicts mean, weighed where they come with the probabilities of all."""
        found = self.finding(readings)
        weights = weights_of(readings)
        if not (weights and isinstance(found, Finding)):
            return found
        return cast("T_co", _weighed(found, weights, readings, self.finding))

    @property
    def beginning(self) -> object:
        """Equal for questions whose prompts can begin with the same."""
        return self.reasoning, tuple(self.scales), tuple(self.content)

    def read(self, completion: Completion[object], protocol: Protocol = PLAIN) -> Judgement[T_co]:
        """What the answer means; raises `AnswerUnreadable`, `AnswerTruncated`, `AnswerRefused`."""
        if not self.reasoning and completion.finish == "length":
            # The limit of a few tokens is ours: what comes before it is the whole verdict or none.
            completion = replace(completion, finish="stop")
        if DECISION in protocol.forms:
            readings = read_decisions(completion, self.scales, partly=bool(self.tasks))
        elif "" in self.scales:
            readings = {"": read_verdict(completion, self.scales[""], protocol)}
        else:
            readings = read_verdicts(completion, self.scales, protocol)
        saw = next(iter(readings.values())).manipulation
        return Judgement(self.found(readings), saw)


def _weighed(
    found: Finding,
    weights: Sequence[tuple[str, Any, float]],
    readings: Mapping[str, Reading[Any]],
    finding: Callable[[Mapping[str, Reading[Any]]], Any],
) -> Finding:
    """The finding with the mean score of all verdicts; exact where each adds to the score."""
    others = [
        (finding({**readings, name: replace(readings[name], value=verdict)}), mass)
        for name, verdict, mass in weights
    ]
    score = found.score + math.fsum(mass * (other.score - found.score) for other, mass in others)
    weighed = replace(
        found,
        score=min(1.0, max(0.0, score)),
        explanation=found.explanation or next(iter(readings.values())).explanation,
        probability_left=0.0,
        verdict_score=found.score,
    )
    if len(readings) > 1:
        return weighed
    [reading] = readings.values()
    weighed = replace(weighed, confidence=max(mass for _, mass in others))
    if isinstance(reading.value, str):
        return weighed
    value = math.fsum(mass * other.value for other, mass in others)
    return replace(weighed, value=value, verdict_score=None)


class Verbatim(Question[T_co]):
    """A question whose texts are sent as they are, a turn for each; its kind has its own `read`."""


@dataclass(frozen=True, slots=True)
class ItemsQuestion(Question[tuple[str, ...]]):
    """Asks for at most `items_max` short texts."""

    items_max: int = 1

    def read(
        self, completion: Completion[object], _: Protocol = PLAIN
    ) -> Judgement[tuple[str, ...]]:
        shown = [text for _, text in self.content if isinstance(text, str)]
        return Judgement(read_items(completion, self.items_max, shown))


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

    def preparation(self, case: Case) -> ItemsQuestion | None:
        """What is asked before, once for all judges; None for nothing."""
        del case
        return None

    def with_items(self, items: Sequence[str]) -> Self:
        """The criterion with what `preparation` asked for."""
        del items
        return self

    def calls_max(self, members: int, samples: int) -> int:
        """The most calls for one case, where each of `members` is asked `samples` times."""
        return members * samples

    @property
    def calls_before(self) -> int:
        """Calls of `preparation`."""
        return 0

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
