"""What is asked of a model and what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from operator import add
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, cast

from assay.domain.deferral import Deferral
from assay.domain.images import Image
from assay.domain.policy import CostBudget, Costs, Deadline
from assay.domain.sampling import DEFAULT_SAMPLING, Sampling

if TYPE_CHECKING:
    from assay.domain.decision import Decision
    from assay.domain.hedging import HedgedCall
    from assay.domain.models import Model

Role = Literal["system", "user", "assistant"]
Priority = Literal["interactive", "batch"]
Finish = Literal["stop", "length", "refusal", "content_filter"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

EXTRA_ATTEMPTS = 2
"""Upstream calls for one verdict, over all models, beyond one for each of them."""


def doc(description: str, **bounds: float) -> Mapping[str, Any]:
    """The metadata of a dataclass field that the OpenAPI document shows."""
    return {"description": description, **bounds}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a call is made for: decides shares, order and log lines, never the content.

    Without `store`, nothing of the call is kept. With a `deferral`, answers may come later.
    """

    tenant: str = "default"
    request_id: str = ""
    priority: Priority = "interactive"
    store: bool = True
    deferral: Deferral | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; its text is kept in parts so that a megabyte is never joined to be sent.

    Images stand between the parts that they are shown between. `shared` is how many of its parts,
    from the first, other calls begin with as well: what a provider is asked to cache.
    """

    role: Role
    parts: tuple[str | Image, ...]
    shared: int = 0

    @property
    def text(self) -> str:
        return "".join(map(str, self.parts))

    @property
    def has_images(self) -> bool:
        return Image in map(type, self.parts)

    def halves(self) -> tuple[Turn, Turn]:
        """What it shares with other calls, and what is its own."""
        shared, own = self.parts[: self.shared], self.parts[self.shared :]
        return Turn(self.role, shared), Turn(self.role, own)

    def blocks(self) -> list[Turn | Image]:
        """Its images, and what stands between them as turns of text alone, in order."""
        blocks: list[Turn | Image] = []
        texts: list[str | Image] = []
        for part in (*self.parts, None):
            if isinstance(part, str):
                texts.append(part)
                continue
            blocks += [Turn(self.role, tuple(texts))] if texts else []
            blocks += [] if part is None else [part]
            texts = []
        return blocks

    @property
    def size(self) -> int:
        """Length in characters, without joining the parts; an image has those of its base64."""
        return sum(map(len, self.parts))


ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON Schema of a structured answer, with the name that providers want for it."""

    name: str
    schema: Mapping[str, Any]

    @property
    def is_any_object(self) -> bool:
        """Whether nothing is asked for but JSON: providers have a mode of their own for that."""
        return self.schema == ANY_OBJECT


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a prompt: how to answer, and what to say where the answer has to be repeated."""

    instruction: str
    repeat: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the providers counted them."""

    input_tokens: int
    output_tokens: int = field(metadata=doc("With `thinking_tokens`, which are billed alike."))
    thinking_tokens: int = field(
        default=0, metadata=doc("Of the output; 0 where the provider does not count them apart.")
    )
    cached_tokens: int = field(
        default=0, metadata=doc("Of the input: what the provider read from its own cache.")
    )
    cache_write_tokens: int = field(
        default=0, metadata=doc("Of the input: what the provider wrote to its own cache.")
    )

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(add, self.counts, other.counts))

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of tokens, in the order of the fields."""
        return (
            self.input_tokens,
            self.output_tokens,
            self.thinking_tokens,
            self.cached_tokens,
            self.cache_write_tokens,
        )

    def part(self, number: int, count: int) -> Usage:
        """Part `number` (from 0) of `count` parts that add up to the whole."""
        if count == 1:
            return self
        return Usage(
            *(tokens * (number + 1) // count - tokens * number // count for tokens in self.counts)
        )


NO_USAGE = Usage(0, 0)


class Metered(Protocol):
    """Anything that used tokens and cost money."""

    @property
    def usage(self) -> Usage: ...

    @property
    def cost_usd(self) -> float: ...


def total_spent(parts: Iterable[Metered]) -> tuple[Usage, float]:
    """What all parts used and cost together."""
    usage, cost_usd = NO_USAGE, 0.0
    for part in parts:
        usage += part.usage
        cost_usd += part.cost_usd
    return usage, cost_usd


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One output token with its natural-log probability and the alternatives the model weighed."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


def to_ms(seconds: float) -> float:
    """A duration as responses show it: milliseconds with three digits after the point."""
    return round(seconds * 1_000, 3)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upstream call, or one candidate that was passed over."""

    provider: str
    model: str
    outcome: str = field(
        metadata=doc(
            "`ok`, `superseded` where another call gave the verdict first, or what went wrong."
        )
    )
    latency_ms: float
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    message: str = field(default="", metadata=doc("What went wrong, in words; empty for `ok`."))


@dataclass(frozen=True, slots=True)
class Completion(Generic[T_co]):
    """A model's answer; `attempts` holds every call it took, the serving one last.

    `reading` is the verdict that the prompt's reader found; None before the answer was read.
    `quota_left` is what is left of the provider's quota by its own count, as far as it says.
    `tool_calls` have the form of chat messages.
    """

    text: str
    finish: Finish
    provider: str
    model: str
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    first_byte_ms: float = 0.0
    latency_ms: float = 0.0
    logprobs: tuple[TokenLogprob, ...] = ()
    simulated: bool = False
    cached: bool = False
    reading: T_co | None = None
    attempts: tuple[Attempt, ...] = ()
    quota_left: Costs = field(default_factory=dict)
    tool_calls: tuple[Mapping[str, Any], ...] = ()

    def with_reading(self, reading: T) -> Completion[T]:
        """The same answer, with the verdict that was read in it."""
        return replace(cast("Completion[T]", self), reading=reading)


class Reader(Protocol[T_co]):
    """Turns a completion into a verdict.

    `forms` are the named forms in which the model is declared to answer. Raises
    `AnswerUnreadable`, `AnswerTruncated` or `AnswerRefused`.
    """

    def __call__(self, completion: Completion[object], *, forms: tuple[str, ...] = ()) -> T_co: ...


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """That other calls begin as this one does: their common `key`, and their common answer.

    The schema of an answer stands before all else at some providers: there `answer` replaces that
    of the prompt. It allows what any of the calls asks for.
    """

    key: str
    answer: AnswerSchema | None


@dataclass(frozen=True, slots=True)
class Prompt(Generic[T]):
    """What to ask, and how its answer is read.

    The result of `read` is the completion's `reading`. `structured` and `plain` are the endings
    for models with and without structured output. `marker` is the random value that `plain` asks
    for. `key` identifies the question, whatever random values it carries (None: never share or
    cache its answer). `refused` names what the model's API refuses. `tools` are functions, each
    with its `name`, `description` and `parameters`. `decision` is the same for a model that decides
    (None: only a text answers it). `framed` are the turns for a model with a profile. `shared` is
    set where other calls begin with the same turns. `sample` numbers the repetitions of a question.
    """

    turns: tuple[Turn, ...]
    read: Reader[T]
    sampling: Sampling = DEFAULT_SAMPLING
    answer: AnswerSchema | None = None
    structured: Ending | None = None
    plain: Ending | None = None
    marker: str = ""
    key: tuple[object, ...] | None = None
    refused: frozenset[str] = frozenset()
    tools: tuple[Mapping[str, Any], ...] = ()
    decision: Callable[[], Decision] | None = field(default=None, compare=False)
    framed: Callable[[Model], tuple[Turn, ...]] | None = field(default=None, compare=False)
    shared: SharedPrefix | None = None
    sample: int = 0

    @property
    def ending(self) -> Ending | None:
        """The ending with which the model is asked."""
        return self.plain if self.answer is None else self.structured

    @property
    def has_images(self) -> bool:
        return any(turn.has_images for turn in self.turns)

    @property
    def size(self) -> int:
        """Length of all turns, in characters."""
        return sum(turn.size for turn in self.turns)

    def for_model(self, model: Model) -> Prompt[T]:
        """The prompt as this model is asked; the schema is left out where it takes none.

        Raises `QuestionUnsupported` where the model's profile does not serve it.
        """
        answer = self.answer if model.capabilities.schema else None
        ending, turns = self.plain if answer is None else self.structured, self.turns
        changes: dict[str, Any] = {}
        if model.profile is not None and self.framed is not None:
            answer, turns = None, self.framed(model)
            changes = {"structured": None, "plain": None}
        elif ending is not None:
            *before, last = turns
            turns = (*before, replace(last, parts=(*last.parts, ending.instruction)))
        return replace(
            self,
            turns=turns,
            read=partial(self.read, forms=model.reading) if model.reading else self.read,
            answer=answer,
            sampling=self.sampling.for_model(model),
            **changes,
        )

    def without(self, refused: frozenset[str]) -> Prompt[T]:
        """The prompt for a model whose API refuses these parameters.

        Each is a `Parameter`; an effort is refused with its value, as `reasoning_effort=max`.
        """
        if not refused:
            return self
        prompt = replace(self, sampling=self.sampling.without(refused), refused=refused)
        if "prompt_cache" in refused:
            prompt = replace(prompt, turns=tuple(replace(turn, shared=0) for turn in self.turns))
        if self.answer is None or "structured_output" not in refused:
            return prompt
        turns = tuple(self._ended_plainly(turn) for turn in prompt.turns)
        return replace(prompt, turns=turns, answer=None)

    def _ended_plainly(self, turn: Turn) -> Turn:
        """The turn with the ending `plain` in place of `structured`."""
        if self.structured is None or self.plain is None:
            return turn
        old, new = self.structured.instruction, self.plain.instruction
        return replace(turn, parts=tuple(new if part is old else part for part in turn.parts))

    def repaired(self, answer: str, fault: str) -> Prompt[T]:
        """Ask again, with the unreadable answer and its fault; not to be shared.

        Of a prompt that `for_model` has returned.
        """
        advice = fault if self.ending is None else f"{fault} {self.ending.repeat}"
        turns = (*self.turns, Turn("assistant", (answer,)), Turn("user", (advice,)))
        return replace(self, turns=turns, key=None)


@dataclass(frozen=True, slots=True)
class CallContext:
    """What belongs to a call and not to its text.

    `attempts_left` bounds the upstream calls to one model for one verdict. `other_in_s` is how soon
    another candidate could serve: a model that has to wait for longer is passed over. `budget` is
    what the request may still spend, and `cacheable` says that a stored answer will do. A long
    input may be judged in `parts_max` parts.
    `criteria` says what the call is for: each criterion's type, with its name after a colon if the
    caller gave one. `delimiter_key` is the secret from which the delimiters of untrusted text are
    made. `hedged` is what is known of a call that may be hedged.
    """

    caller: Caller
    deadline: Deadline
    attempts_left: int = 1 + EXTRA_ATTEMPTS
    other_in_s: float = math.inf
    budget: CostBudget | None = None
    cacheable: bool = False
    parts_max: int = 64
    criteria: tuple[str, ...] = ()
    delimiter_key: bytes = field(default=b"", repr=False)
    hedged: HedgedCall | None = field(default=None, repr=False)
