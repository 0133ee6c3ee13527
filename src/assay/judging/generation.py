"""Makes the output of a case: a model is asked with the author's own messages, as judges are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from assay.criteria.base import Frozen
from assay.criteria.judged.openai_graders import MESSAGES_MAX, TemplateMessage
from assay.criteria.placeholders import fill
from assay.domain.completion import (
    Attempt,
    CallContext,
    Caller,
    Completion,
    Finish,
    Prompt,
    Role,
    Turn,
    Usage,
    total_spent,
)
from assay.domain.errors import FieldError, RequestError
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.policy import Deadline
from assay.domain.ports import Judges
from assay.domain.sampling import Effort, Sampling

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant"}
"""Any other message is a system turn."""


class Generation(Frozen):
    """How a model is asked for the output of each row."""

    model: str = Field(min_length=1, max_length=200, description="Id of a configured model.")
    messages: Annotated[tuple[TemplateMessage, ...], Field(min_length=1, max_length=MESSAGES_MAX)]
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    max_output_tokens: int = Field(default=2_048, ge=1, le=1_000_000)
    reasoning_effort: Effort | None = None

    def check(self, judges: Judges) -> None:
        """Raises `RequestError` if the model is not configured."""
        try:
            judges.panel(self.spec)
        except RequestError as error:
            faults = [FieldError("/generate/model", error.message)]
            raise RequestError(error.code, error.message, faults) from None

    @property
    def spec(self) -> JudgeSpec:
        """Who is asked."""
        return JudgeSpec(models=(self.model,), fallback="none")

    def prompt(self, case: Case) -> Prompt[str]:
        """What is asked; raises `NotApplicable` where the case lacks what the messages name."""
        turns = (
            Turn(_ROLES.get(message.role, "system"), (fill(message.text, case),))
            for message in self.messages
        )
        sampling = Sampling(
            self.max_output_tokens,
            self.temperature,
            self.seed,
            reasoning_effort=self.reasoning_effort,
        )
        return Prompt(tuple(turns), _as_it_is, sampling)


@dataclass(frozen=True, slots=True)
class Generated:
    """An output, who made it and what it took."""

    output: str
    finish: Finish
    provider: str
    model: str
    usage: Usage
    cost_usd: float
    attempts: tuple[Attempt, ...]
    simulated: bool


async def generate(
    generation: Generation, case: Case, judges: Judges, caller: Caller, deadline: Deadline
) -> Generated:
    """The model's output for the case, whose own output is not looked at.

    No other model answers in its place. Raises `ModelError`; `NotApplicable` where the case lacks
    what the messages name; `RequestError` if the model is not configured.
    """
    (member,) = judges.panel(generation.spec)
    prompt = generation.prompt(case)
    completion = await member.chat.complete(prompt, CallContext(caller, deadline))
    usage, cost_usd = total_spent(completion.attempts)
    return Generated(
        completion.text,
        completion.finish,
        completion.provider,
        completion.model,
        usage,
        cost_usd,
        completion.attempts,
        completion.simulated,
    )


def _as_it_is(completion: Completion[object], *, forms: tuple[str, ...] = ()) -> str:
    del forms
    return completion.text
