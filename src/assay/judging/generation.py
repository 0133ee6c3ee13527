"""Makes the output of a case: a model is asked with the author's own messages, as judges are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.frozen import Frozen
from assay.criteria.judged.openai_graders import (
    MESSAGES_MAX,
    AudioBlock,
    ImageBlock,
    TemplateMessage,
)
from assay.criteria.locations import fault_at
from assay.criteria.placeholders import fill, limit_filled, variable
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
from assay.domain.images import Image, ImageFault, image_in
from assay.domain.policy import Deadline
from assay.domain.ports import Judges
from assay.domain.sampling import Effort, Sampling

_ROLES: dict[str, Role] = {
    "user": "user", "assistant": "assistant", "system": "system", "developer": "system",
}  # fmt: skip
ROW_MESSAGES_MAX = 1_000
TOOLS_MAX = 128
Parts = tuple[str | Image, ...]


ItemPath = Annotated[str, Field(pattern=r"^item\.[^{}]{1,190}$")]


class AnswerForm(Frozen):
    """A JSON Schema that the output conforms to, where the model takes one."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "answer"
    schema_: dict[str, Any] = Field(alias="schema")


class Tool(Frozen):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="A JSON Schema.")
    strict: StrictBool | None = None


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
    tools: Annotated[tuple[Tool, ...], Field(max_length=TOOLS_MAX)] = Field(
        default=(), description="Its calls of them stand in the output as in a chat message."
    )
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
        for index, message in enumerate(self.messages):
            if any(isinstance(block, AudioBlock) for block in message.blocks):
                fault = PydanticCustomError("sound", "must have no sound, which no model is sent")
                raise fault_at(("messages", index, "content"), fault, self)
            if message.role not in _ROLES:
                fault = PydanticCustomError("role", "must be one of " + ", ".join(_ROLES))
                raise fault_at(("messages", index, "role"), fault, self)
        return self

    def check(self, judges: Judges) -> None:
        """Raises `RequestError` if the model is not configured, or cannot be asked for this."""
        try:
            (member,) = judges.panel(self.spec)
        except RequestError as error:
            faults = [FieldError("/generate/model", error.message)]
            raise RequestError(error.code, error.message, faults) from None
        model = member.estimator.model
        if model.decides:
            fault = FieldError("/generate/model", f"{model.id} decides, and writes no text")
            raise RequestError("invalid_request", f"{fault.pointer}: {fault.message}.", [fault])
        for name, is_able in (("tools", model.takes_tools), ("answer", model.capabilities.schema)):
            if getattr(self, name) and not is_able:
                fault = FieldError(f"/generate/{name}", f"cannot be sent to the model {model.id}")
                raise RequestError("invalid_request", f"{fault.pointer} {fault.message}.", [fault])

    @property
    def spec(self) -> JudgeSpec:
        """Who is asked."""
        return JudgeSpec(models=(self.model,), fallback="none")

    @property
    def shows_images(self) -> bool:
        """Whether messages may have images of the case."""
        blocks = (block for message in self.messages for block in message.blocks)
        return self.messages_from is not None or any(isinstance(one, ImageBlock) for one in blocks)

    def conversation(self, case: Case) -> list[tuple[str, Parts]]:
        """The role and the content of each message; raises as `prompt` does."""
        if self.messages_from is not None:
            return _conversation(variable(self.messages_from, case))
        return [(message.role, _filled(message, case)) for message in self.messages]

    def prompt(self, case: Case) -> Prompt[str]:
        """What is asked; raises `NotApplicable` where the case lacks what the messages name."""
        turns = (Turn(_ROLES[role], parts) for role, parts in self.conversation(case))
        sampling = Sampling(
            self.max_output_tokens,
            self.temperature,
            self.seed,
            reasoning_effort=self.reasoning_effort,
            top_p=self.top_p,
        )
        form = self.answer
        answer = None if form is None else AnswerSchema(form.name, form.schema_)
        tools = tuple(tool.model_dump(exclude_none=True) for tool in self.tools)
        return Prompt(tuple(turns), _as_it_is, sampling, answer, tools=tools)


@dataclass(frozen=True, slots=True)
class Generated:
    """An output, who made it and what it took."""

    output: str
    tool_calls: tuple[Mapping[str, Any], ...]
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
        completion.tool_calls,
        completion.finish,
        completion.provider,
        completion.model,
        usage,
        cost_usd,
        completion.attempts,
        completion.simulated,
    )


def said(made: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    """What a model made, as the output of a case: its text, or a message with its tool calls."""
    if not made.get("tool_calls"):
        return str(made["output"])
    message = {"role": "assistant", "content": made["output"]}
    return [message | {"tool_calls": list(made["tool_calls"])}]


def _filled(message: TemplateMessage, case: Case) -> Parts:
    """The content of a template's message, with a line between two texts."""
    parts: list[str | Image] = []
    for block in message.blocks:
        if isinstance(block, ImageBlock):
            parts += block.images(case)
            continue
        after_text = bool(parts) and isinstance(parts[-1], str)
        filled = fill(block if isinstance(block, str) else block.text, case)
        parts.append(f"\n{filled}" if after_text else filled)
        limit_filled(sum(len(part) for part in parts if isinstance(part, str)))
    return tuple(parts)


def _conversation(messages: Any) -> list[tuple[str, Parts]]:
    """Role and content of the messages in a row; raises `NotApplicable` for what is not sent."""
    if not isinstance(messages, list) or not 1 <= len(messages) <= ROW_MESSAGES_MAX:
        raise NotApplicable("check_error", "The row has no list of messages.")
    if not all(isinstance(message, dict) for message in messages):
        raise NotApplicable("check_error", "The row has messages that are no objects.")
    if any(message.get("role") not in _ROLES for message in messages):
        roles = ", ".join(_ROLES)
        raise NotApplicable("input_unsupported", f"The row has a message by none of {roles}.")
    return [(message["role"], _parts_of(message)) for message in messages]


def _parts_of(message: Mapping[str, Any]) -> Parts:
    content = message.get("content")
    parts: list[str | Image] = []
    for part in content if isinstance(content, list) else [content]:
        try:
            image = image_in(part, lambda _: "must be a data URI")
        except ImageFault as fault:
            raise NotApplicable("input_unsupported", f"The row's image {fault}.") from None
        text = part.get("text") if isinstance(part, Mapping) else part
        if (image is None and not isinstance(text, str)) or message.get("tool_calls"):
            fault_text = "The row has messages with more than texts and images."
            raise NotApplicable("input_unsupported", fault_text)
        after_text = bool(parts) and isinstance(parts[-1], str)
        parts.append(image or (f"\n{text}" if after_text else str(text)))
    return tuple(parts)


def _as_it_is(completion: Completion[object], *, forms: tuple[str, ...] = ()) -> str:
    del forms
    return completion.text
