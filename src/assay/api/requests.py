"""The requests for judgements: the fields of a case, their aliases, and who judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from assay.catalog.names import REFERENCE_PATTERN
from assay.criteria import CriteriaField
from assay.criteria.base import Prose
from assay.criteria.frozen import Frozen
from assay.criteria.judge import JudgeField
from assay.criteria.locations import fault_at
from assay.domain.evaluation import Case, Text
from assay.domain.exact_json import dumps
from assay.domain.images import DEPTH_MAX, ImageFault, image_in, no_fault, replaced
from assay.domain.trace_context import Subject
from assay.http.problems import invalid_request

MESSAGES_MAX = 1_000
TIMEOUT_MS_MIN = 100
"""No judge answers faster: a smaller value is probably in seconds."""
TIMEOUT_MS_MAX = 600_000
"""The largest `server.request_timeout_ms`, which is the limit of an installation."""
PASSAGES_MAX = 1_000
TOOLS_MAX = 256
METADATA_BYTES_MAX = 16_384
RESPONSE_ID_CHARS_MAX = 256

EvaluatorReference = Annotated[str, Field(pattern=f"^{REFERENCE_PATTERN}$")]

MessageRole = Literal["system", "developer", "user", "assistant", "model", "tool", "function"]


def _kind(value: Any) -> str:
    """The tag of a union's branch, so that only the faults of that branch are reported."""
    return "<list>" if isinstance(value, list | tuple) else "<text>"


def _passage_kind(value: Any) -> str:
    return "<part>" if isinstance(value, Mapping) else "<text>"


Parts = Annotated[list[dict[str, Any]], Field(max_length=MESSAGES_MAX)]
Content = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Parts, Tag("<list>")], Discriminator(_kind)
]


class Message(BaseModel):
    """A chat message; fields beyond these, such as `tool_calls`, are passed on as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: MessageRole
    content: Content | None = None


class MessageItem(BaseModel):
    """What stands between messages without a role, such as a `function_call`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: None = None
    type: str


def _is_item(value: Any) -> str:
    """The tag of a message's branch: it is an item only where there is no role but a type."""
    fields = value if isinstance(value, Mapping) else {}
    return "<item>" if fields.get("role") is None and "type" in fields else "<message>"


def _as_it_came(value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Check a text or its messages, and keep the caller's own objects: nothing is copied."""
    check(value)
    if isinstance(value, str):
        return value
    _check_images(value, info)
    return tuple(value)


def _check_images(
    entries: Sequence[Any], info: ValidationInfo, depth: int = DEPTH_MAX
) -> Sequence[Any]:
    """Messages or parts with their images read; what is kept is as it came, as a row is stored."""
    url_fault = info.context.fault if info.context else no_fault
    try:
        return replaced(entries, lambda part: image_in(part, url_fault), depth)
    except ImageFault as fault:
        error = PydanticCustomError("image", "{message}", {"message": fault.message})
        raise fault_at(fault.location, error, None) from None


def _check_passages(passages: list[Any], info: ValidationInfo) -> list[Any]:
    for index, passage in enumerate(_check_images(passages, info, depth=0)):
        if isinstance(passage, Mapping) and not isinstance(passage.get("text"), str):
            error = PydanticCustomError("passage", "must be a text, or a part with one or an image")
            raise fault_at((index,), error, None)
    return passages


def _listed_or_empty(value: list[Any] | None) -> list[Any]:
    return value or []


def _listed(value: Any, check: ValidatorFunctionWrapHandler) -> tuple[Any, ...]:
    checked = check(value)
    if checked is None:
        return ()
    return (checked,) if isinstance(checked, str) else tuple(checked)


def _within_limit(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(dumps(value)) > METADATA_BYTES_MAX:
        raise PydanticCustomError(
            "too_large", "must have at most {max} bytes as JSON", {"max": METADATA_BYTES_MAX}
        )
    return value


AnyMessage = Annotated[
    Annotated[Message, Tag("<message>")] | Annotated[MessageItem, Tag("<item>")],
    Discriminator(_is_item),
]
Messages = Annotated[list[AnyMessage], Field(min_length=1, max_length=MESSAGES_MAX)]
TextField = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Messages, Tag("<list>")],
    Discriminator(_kind),
    WrapValidator(_as_it_came),
]
Passage = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[dict[str, Any], Tag("<part>")],
    Discriminator(_passage_kind),
]
Passages = Annotated[list[Passage], Field(max_length=PASSAGES_MAX), AfterValidator(_check_passages)]
References = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Passages, Tag("<list>")], Discriminator(_kind)
]
Tools = Annotated[list[dict[str, Any]], Field(max_length=TOOLS_MAX)]
ToolsField = Annotated[Tools | None, AfterValidator(_listed_or_empty)]
ContextField = Annotated[Passages | None, AfterValidator(_listed_or_empty)]
ReferenceField = Annotated[References | None, WrapValidator(_listed)]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_within_limit),
    BeforeValidator(lambda value: {} if value is None else value),
    WithJsonSchema({"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "null"}]}),
]


class CaseContext(Frozen):
    """What belongs to a case besides its output."""

    input: TextField | None = Field(
        default=None,
        validation_alias=AliasChoices("input", "user_input"),
        description="What the model was asked.",
    )
    reference: ReferenceField = Field(
        default=None,
        validation_alias=AliasChoices(
            "reference", "expected", "expected_output", "ground_truth", "ideal", "target"
        ),
        description="What the output is compared to: one text, or several that are all right.",
    )
    context: ContextField = Field(
        default=[],
        validation_alias=AliasChoices("context", "retrieval_context", "retrieved_contexts"),
        description="The passages that were retrieved for the model.",
    )


class MetadataField(Frozen):
    """What the caller adds for itself."""

    metadata: Metadata = Field(default={}, description="Returned unchanged, at most 16 KB.")


_OUTPUT_NAMES = AliasChoices("output", "actual_output", "response")
OptionalOutput = Annotated[TextField | None, Field(validation_alias=_OUTPUT_NAMES)]


class CaseFields(CaseContext, MetadataField):
    """A case: an output to judge, what it answers, and what it is compared to."""

    output: TextField = Field(
        validation_alias=_OUTPUT_NAMES,
        description="What the model answered: a text, which may be empty, or chat messages.",
    )
    tools: ToolsField = Field(default=[], description="The tools that the model could call.")
    expected_tools: ToolsField = Field(default=[], description="The tool calls that are expected.")
    fields: dict[str, Any] = Field(
        default={},
        description="All else that belongs to the case: `{{item.…}}` in templates, and `item` of "
        "programs.",
    )
    sample: dict[str, Any] | None = Field(
        default=None,
        description="The answer as an object with more than its text: `{{sample.…}}` in "
        "templates, and `sample` of programs.",
    )

    def to_case(self) -> Case:
        """The domain's value."""
        return Case.from_fields(vars(self))


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a case without empty ones that are as good as none."""
    kept = ("output", "sample")
    return {
        name: value
        for name, value in fields.items()
        if value or (name in kept and value is not None)
    }


class StoreField(Frozen):
    """Whether anything of a request is kept."""

    store: StrictBool = Field(
        default=True,
        description="False: no answer of a judge goes to the cache or to the records. It excludes "
        "an `Idempotency-Key`, whose response is kept.",
    )

    def check_store(self, *, keyed: bool) -> None:
        """Raises `RequestError` if the request must not be kept and has an idempotency key."""
        if keyed and not self.store:
            raise invalid_request(
                "/store", "false excludes an Idempotency-Key, whose response is kept"
            )


class JudgedFields(StoreField):
    """Who judges, and how long it may take."""

    judge: JudgeField | None = Field(
        default=None, description="Who judges, unless a criterion names its own judge."
    )
    timeout_ms: int | None = Field(
        default=None,
        ge=TIMEOUT_MS_MIN,
        le=TIMEOUT_MS_MAX,
        description="When the response is due, with whatever is scored by then.",
    )


_NAMED: dict[str, Any] = {
    "properties": {"evaluator": {"type": "string"}},
    "required": ["evaluator"],
}
_CRITERIA_OR_EVALUATOR: dict[str, Any] = {"anyOf": [{"required": ["criteria"]}, _NAMED]}


class CriteriaFields(Frozen):
    """What to judge by: criteria, or an evaluator that has them."""

    model_config = ConfigDict(json_schema_extra=_CRITERIA_OR_EVALUATOR)

    criteria: CriteriaField = Field(
        default_factory=tuple,
        validate_default=True,
        description="What to judge: a plain text is a rubric judged pass or fail. Required without "
        "`evaluator`.",
    )
    evaluator: EvaluatorReference | None = Field(
        default=None,
        description="A stored evaluator in place of `criteria`: `name` is its newest version, "
        "`name@3` its third.",
    )


def _not_zeros(value: str) -> str:
    if not value.strip("0"):
        raise PydanticCustomError("zeros", "must not be all zeros, which stands for none")
    return value.lower()


TraceId = Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$"), AfterValidator(_not_zeros)]
SpanId = Annotated[str, Field(pattern="^[0-9a-fA-F]{16}$"), AfterValidator(_not_zeros)]


class SubjectFields(Frozen):
    """What was judged, as its own trace names it."""

    trace_id: TraceId | None = Field(default=None, description="32 hex digits.")
    span_id: SpanId | None = Field(
        default=None, description="16 hex digits: the span of the judged answer."
    )
    response_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=RESPONSE_ID_CHARS_MAX,
        description="The id that the model's provider gave to the judged answer.",
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        for name, other in (("trace_id", "span_id"), ("span_id", "trace_id")):
            if getattr(self, name) is None and getattr(self, other) is not None:
                fault = PydanticCustomError("missing", f"is required with {other}")
                raise fault_at((name,), fault, self)
        return self

    def to_domain(self) -> Subject:
        """The domain's value."""
        return Subject(self.trace_id, self.span_id, self.response_id)


class SubjectField(Frozen):
    """The judged answer in the caller's own traces."""

    subject: SubjectFields | None = Field(
        default=None,
        description="The span, or the response, that is judged: scores are sent to OpenTelemetry "
        "as its own. Without it, they belong to the span that `traceparent` names.",
    )


class EvaluationRequest(CriteriaFields, JudgedFields, SubjectField, CaseFields):
    """An output to judge, what it answers and is compared to, and the criteria to judge it by."""


class ComparisonRequest(JudgedFields, CaseContext, MetadataField):
    """Two outputs to compare, what they answer, and the criteria to compare them by."""

    output_a: TextField = Field(description="One output: a text, or chat messages.")
    output_b: TextField = Field(description="The other output.")
    criteria: Prose = Field(description="What to compare, in plain words.")

    def to_case(self) -> Case:
        """The domain's value for output a."""
        return Case.from_fields({**vars(self), "output": self.output_a})

    def other_output(self) -> Text:
        """Output b."""
        return Case.from_fields({"output": self.output_b}).output
