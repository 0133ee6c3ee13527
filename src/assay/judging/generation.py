"""Makes the output of a case: a model is asked with the author's own messages, as judges are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Frozen
from assay.criteria.judged.openai_graders import MESSAGES_MAX, TemplateMessage
from assay.criteria.locations import fault_at
from assay.criteria.placeholders import fill, variable
from assay.domain.case_text import content_text
from assay.domain.completion import (
    AnswerSchema,
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
from assay.domain.errors import FieldError, NotApplicable, RequestError
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.policy import Deadline
from assay.domain.ports import Judges
from assay.domain.sampling import Effort, Sampling

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant"}
"""Any other message is a system turn."""
ROW_MESSAGES_MAX = 1_000


ItemPath = Annotated[str, Field(pattern=r"^item\.[^{}]{1,190}$")]


class AnswerForm(Frozen):
    """A JSON Schema that the output conforms to, where the model takes one."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "answer"
    schema_: dict[str, Any] = Field(alias="schema")


class Generation(Frozen):
    """How a model is asked for the output of each row."""

    model: str = Field(min_length=1, max_length=200, description="Id of a configured model.")
    messages: Annotated[tuple[TemplateMessage, ...], Field(max_length=MESSAGES_MAX)] = ()
    messages_from: ItemPath | None = Field(
        default=None,
        description="Where a row has the messages, such as `item.conversation`, in place of "
        "`messages`.",
    )
    answer: AnswerForm | None = Field(default=None, description="The form of the output as JSON.")
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    max_output_tokens: int = Field(default=2_048, ge=1, le=1_000_000)
    reasoning_effort: Effort | None = None

    @model_validator(mode="after")
    def _has_messages(self) -> Self:
        if bool(self.messages) is (self.messages_from is not None):
            fault = PydanticCustomError("one_of", "either messages or messages_from is required")
            raise fault_at(("messages_from" if self.messages else "messages",), fault, self)
        return self

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

    def conversation(self, case: Case) -> list[tuple[str, str]]:
        """The role and the text of each message; raises as `prompt` does."""
        if self.messages_from is not None:
            return _conversation(variable(self.messages_from, case))
        return [(message.role, fill(message.text, case)) for message in self.messages]

    def prompt(self, case: Case) -> Prompt[str]:
        """What is asked; raises `NotApplicable` where the case lacks what the messages name."""
        turns = (
            Turn(_ROLES.get(role, "system"), (text,)) for role, text in self.conversation(case)
        )
        sampling = Sampling(
            self.max_output_tokens,
            self.temperature,
            self.seed,
            reasoning_effort=self.reasoning_effort,
            top_p=self.top_p,
        )
        form = self.answer
        answer = None if form is None else AnswerSchema(form.name, form.schema_)
        return Prompt(tuple(turns), _as_it_is, sampling, answer)


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


def _conversation(messages: Any) -> list[tuple[str, str]]:
    """Role and text of the messages in a row; raises `NotApplicable` where they are none."""
    if not isinstance(messages, list) or not 1 <= len(messages) <= ROW_MESSAGES_MAX:
        raise NotApplicable("check_error", "The row has no list of messages.")
    if not all(isinstance(message, dict) for message in messages):
        raise NotApplicable("check_error", "The row has messages that are no objects.")
    return [(str(one.get("role")), content_text(one.get("content"))) for one in messages]


def _as_it_is(completion: Completion[object], *, forms: tuple[str, ...] = ()) -> str:
    del forms
    return completion.text
