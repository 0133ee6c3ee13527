"""The request for an evaluation: its fields, their aliases, and the case it makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictInt,
    Tag,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from assay.criteria import CriteriaField
from assay.criteria.base import Frozen, JudgeField, Prose
from assay.domain.evaluation import Case, Text

MESSAGES_MAX = 1_000
TIMEOUT_MS_MIN = 100
"""No judge answers in less, and a typing slip in the unit should be heard."""
PASSAGES_MAX = 1_000
TOOLS_MAX = 256
METADATA_BYTES_MAX = 16_384

MessageRole = Literal["system", "developer", "user", "assistant", "tool", "function"]


def _kind(value: Any) -> str:
    """The tag of the branch of a union that is meant, so that only its faults are told."""
    return "<list>" if isinstance(value, list | tuple) else "<text>"


Parts = Annotated[list[dict[str, Any]], Field(max_length=MESSAGES_MAX)]
Content = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Parts, Tag("<list>")], Discriminator(_kind)
]


class Message(BaseModel):
    """A chat message; fields beyond these, such as `tool_calls`, are passed on as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: MessageRole
    content: Content | None = None


def _as_it_came(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Check a text or its messages, and pass on the caller's own objects: nothing is copied."""
    check(value)
    return value if isinstance(value, str) else tuple(value)


def _not_empty(value: Any) -> Any:
    if value == "":
        raise PydanticCustomError("empty", "must not be empty")
    return value


def _listed(value: Any, check: ValidatorFunctionWrapHandler) -> tuple[str, ...]:
    checked = check(value)
    if checked is None:
        return ()
    return (checked,) if isinstance(checked, str) else tuple(checked)


def _within_limit(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(orjson.dumps(value)) > METADATA_BYTES_MAX:
        raise PydanticCustomError(
            "too_large", "must have at most {most} bytes as JSON", {"most": METADATA_BYTES_MAX}
        )
    return value


Messages = Annotated[list[Message], Field(min_length=1, max_length=MESSAGES_MAX)]
TextField = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Messages, Tag("<list>")],
    Discriminator(_kind),
    WrapValidator(_as_it_came),
]
Passages = Annotated[list[str], Field(max_length=PASSAGES_MAX)]
References = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Passages, Tag("<list>")], Discriminator(_kind)
]
Tools = Annotated[list[dict[str, Any]], Field(max_length=TOOLS_MAX)]
OutputField = Annotated[TextField, AfterValidator(_not_empty)]
ReferenceField = Annotated[References | None, WrapValidator(_listed)]
Metadata = Annotated[dict[str, Any], AfterValidator(_within_limit)]


class EvaluationRequest(Frozen):
    """An output to judge, what it answers and is compared to, and the criteria to judge it by."""

    output: OutputField = Field(
        validation_alias=AliasChoices("output", "actual_output", "response"),
        description="What the model answered: a text, or chat messages.",
    )
    criteria: CriteriaField = Field(
        description="What to judge: a text is a rubric judged pass or fail."
    )
    input: TextField | None = Field(default=None, description="What the model was asked.")
    reference: ReferenceField = Field(
        default=None,
        validation_alias=AliasChoices("reference", "expected", "expected_output", "ground_truth"),
        description="What the output is compared to: one text, or several that are all right.",
    )
    context: Passages = Field(
        default=[],
        validation_alias=AliasChoices("context", "retrieval_context", "retrieved_contexts"),
        description="The passages that were retrieved for the model.",
    )
    tools: Tools = Field(default=[], description="The tools that the model could call.")
    expected_tools: Tools = Field(default=[], description="The tool calls that were due.")
    judge: JudgeField | None = Field(
        default=None, description="Who judges, unless a criterion says."
    )
    timeout_ms: StrictInt | None = Field(
        default=None,
        ge=TIMEOUT_MS_MIN,
        description="When the answer is due, whatever is scored by then.",
    )
    metadata: Metadata = Field(default={}, description="Returned as it came, at most 16 KB.")

    def case(self) -> Case:
        """The domain's value; it holds the very strings of the parsed body."""
        given: Text | None = self.input  # type: ignore[assignment]  # see _as_it_came
        output: Text = self.output  # type: ignore[assignment]
        return Case(
            output=output,
            input=given,
            reference=tuple(self.reference or ()),
            context=tuple(self.context),
            tools=tuple(self.tools),
            expected_tools=tuple(self.expected_tools),
        )


class ComparisonRequest(Frozen):
    """Two outputs to compare, what they answer, and by what to compare them."""

    output_a: Annotated[TextField, AfterValidator(_not_empty)] = Field(
        description="One output: a text, or chat messages."
    )
    output_b: Annotated[TextField, AfterValidator(_not_empty)] = Field(
        description="The other output."
    )
    criteria: Prose = Field(description="By what to compare them, in plain words.")
    input: TextField | None = Field(default=None, description="What the models were asked.")
    reference: Annotated[References | None, WrapValidator(_listed)] = Field(
        default=None,
        validation_alias=AliasChoices("reference", "expected", "expected_output", "ground_truth"),
        description="What a right output is like: one text, or several that are all right.",
    )
    context: Passages = Field(
        default=[],
        validation_alias=AliasChoices("context", "retrieval_context", "retrieved_contexts"),
        description="The passages that were retrieved for the models.",
    )
    judge: JudgeField | None = Field(default=None, description="Who judges.")
    timeout_ms: StrictInt | None = Field(
        default=None, ge=TIMEOUT_MS_MIN, description="When the answer is due."
    )
    metadata: Metadata = Field(default={}, description="Returned as it came, at most 16 KB.")

    def case(self) -> Case:
        """The domain's value for output a; it holds the very strings of the parsed body."""
        given: Text | None = self.input  # type: ignore[assignment]  # see _as_it_came
        output: Text = self.output_a  # type: ignore[assignment]
        return Case(
            output=output,
            input=given,
            reference=tuple(self.reference or ()),
            context=tuple(self.context),
        )

    def other(self) -> Text:
        """Output b."""
        output: Text = self.output_b  # type: ignore[assignment]  # see _as_it_came
        return output


def field_names(model: type[BaseModel]) -> list[str]:
    """Every name by which a field of `model` may be sent."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
        names += [choice for choice in choices if isinstance(choice, str)]
    return names
