"""Where the rows of a run come from, and how a model is asked for their outputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from assay.criteria.frozen import Frozen
from assay.criteria.judged.openai_graders import MESSAGES_MAX
from assay.domain.completion import ANY_OBJECT
from assay.domain.errors import FieldError, RequestError
from assay.domain.ports import Judges
from assay.domain.sampling import Effort
from assay.http.problems import fault_sentence, invalid_request
from assay.judging.generation import Generation
from assay.openai_evals.backend import validated
from assay.openai_evals.files import DataRow

ROWS_MAX = 10_000
"""Rows in the request itself; a file may have more."""
STORED = ("stored_completions", "responses", "logs")


class FileContent(Frozen):
    """Rows in the request."""

    type: Literal["file_content"]
    content: Annotated[list[DataRow], Field(min_length=1, max_length=ROWS_MAX)]


class FileId(Frozen):
    """Rows of an uploaded file."""

    type: Literal["file_id"]
    id: str


class MessageTemplate(Frozen):
    """The messages for each row."""

    type: Literal["template"]
    template: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MESSAGES_MAX)]


class ItemReference(Frozen):
    """Messages that stand in each row."""

    type: Literal["item_reference"]
    item_reference: Annotated[str, Field(pattern=r"^item\.[^{}]{1,190}$")]


class TextFormat(Frozen):
    """The form of the answer, in the words of the Responses API."""

    format: dict[str, Any] | None = None


class RunSampling(Frozen):
    """How the model samples, what it may call, and the form of its answer."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completions_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    reasoning_effort: Effort | None = None
    response_format: dict[str, Any] | None = None
    text: TextFormat | None = None
    tools: list[dict[str, Any]] | None = None


class DataSource(Frozen):
    """Rows, and for a generating run the model and its messages."""

    type: Literal["jsonl", "completions", "responses"]
    source: dict[str, Any]
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    input_messages: (
        Annotated[MessageTemplate | ItemReference, Field(discriminator="type")] | None
    ) = None
    sampling_params: RunSampling | None = None

    def rows(self) -> FileContent | FileId:
        """Where the rows are; raises `RequestError`."""
        at, kind = "/data_source/source", self.source.get("type")
        if kind in STORED:
            message = "must be file_content or file_id, since Assay stores no completions"
            raise invalid_request(f"{at}/type", message)
        model: type[FileContent | FileId] = FileContent if kind == "file_content" else FileId
        try:
            return validated(model, self.source)
        except RequestError as error:
            faults = [FieldError(at + fault.pointer, fault.message) for fault in error.errors]
            raise RequestError(error.code, f"{at}{error.message}", faults) from None

    def generate(self, judges: Judges | None = None) -> Generation | None:
        """How a batch generates the outputs; None where the rows bring them.

        Raises `RequestError` for what no model, or not this one among `judges`, can be asked for.
        """
        if self.type == "jsonl":
            for name in ("model", "input_messages", "sampling_params"):
                if getattr(self, name) is not None:
                    raise invalid_request(f"/data_source/{name}", "is of no use for jsonl")
            return None
        for name in ("model", "input_messages"):
            if getattr(self, name) is None:
                raise invalid_request(f"/data_source/{name}", "is required")
        params, messages = self.sampling_params or RunSampling(), self.input_messages
        asked = {
            "model": self.model,
            "messages": getattr(messages, "template", None),
            "messages_from": getattr(messages, "item_reference", None),
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": params.seed,
            "max_output_tokens": params.max_completion_tokens or params.max_completions_tokens,
            "reasoning_effort": params.reasoning_effort,
            "answer": _answer_schema(params),
            "tools": _functions(params.tools),
        }
        try:
            made = validated(Generation, {k: v for k, v in asked.items() if v is not None})
            if judges is not None:
                made.check(judges)
        except RequestError as error:
            raise self._placed(error) from None
        return made

    def _placed(self, error: RequestError) -> RequestError:
        """The error for a fault of the generation, at the place where the caller sent it."""
        faults = []
        for fault in error.errors:
            name, *rest = fault.pointer.removeprefix("/generate").split("/")[1:]
            at = _SENT_AS.get(name, f"sampling_params/{name}")
            if name == "answer" and self.sampling_params and self.sampling_params.text:
                at = "sampling_params/text/format"
            faults.append(FieldError("/".join(["/data_source", at, *rest]), fault.message))
        message = fault_sentence(faults[0].pointer, faults[0].message)
        return RequestError(error.code, message, faults)


_SENT_AS = {
    "model": "model",
    "messages": "input_messages/template",
    "messages_from": "input_messages/item_reference",
    "answer": "sampling_params/response_format",
}
"""Where a run has what a generation has under another name."""


def _answer_schema(params: RunSampling) -> dict[str, Any] | None:
    """The name and the JSON Schema of a structured answer."""
    form = params.response_format or (params.text.format if params.text else None)
    if form is None or form.get("type") == "text":
        return None
    if form.get("type") == "json_object":
        return {"schema": ANY_OBJECT}
    inner = form.get("json_schema") or form
    if form.get("type") != "json_schema" or not isinstance(inner.get("schema"), dict):
        at = "response_format" if params.response_format else "text/format"
        message = "must be of type text, json_object, or json_schema with a schema"
        raise invalid_request(f"/data_source/sampling_params/{at}", message)
    return {"name": str(inner.get("name", "answer")), "schema": inner["schema"]}


def _functions(tools: list[dict[str, Any]] | None) -> list[Any] | None:
    """The functions among tools, of which there must be no others."""
    for index, tool in enumerate(tools or ()):
        if tool.get("type") != "function":
            at = f"/data_source/sampling_params/tools/{index}/type"
            raise invalid_request(at, "must be function: a run has no other tools")
    return tools and [
        tool.get("function") or {name: tool[name] for name in tool if name != "type"}
        for tool in tools
    ]
