"""Where the rows of a run come from, and how a model is asked for their outputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from assay.criteria.frozen import Frozen
from assay.criteria.judged.openai_graders import MESSAGES_MAX, TemplateMessage
from assay.domain.errors import FieldError, RequestError
from assay.domain.sampling import Effort
from assay.http.problems import invalid_request
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


class RunSampling(Frozen):
    """How the model samples; `tools` are not supported."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completions_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    reasoning_effort: Effort | None = None
    response_format: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
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

    def generate(self) -> dict[str, Any] | None:
        """How a batch generates the outputs; None where the rows bring them.

        Raises `RequestError` for what no model here can be asked for.
        """
        if self.type == "jsonl":
            for name in ("model", "input_messages", "sampling_params"):
                if getattr(self, name) is not None:
                    raise invalid_request(f"/data_source/{name}", "has no use in a jsonl run")
            return None
        for name in ("model", "input_messages"):
            if getattr(self, name) is None:
                raise invalid_request(f"/data_source/{name}", "is required")
        params = self.sampling_params or RunSampling()
        if params.tools:
            raise invalid_request("/data_source/sampling_params/tools", "is not supported")
        asked = {
            "model": self.model,
            **self._messages(),
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": params.seed,
            "max_output_tokens": params.max_completion_tokens or params.max_completions_tokens,
            "reasoning_effort": params.reasoning_effort,
            "answer": _answer_schema(params),
        }
        return {name: value for name, value in asked.items() if value is not None}

    def _messages(self) -> dict[str, Any]:
        if isinstance(self.input_messages, ItemReference):
            return {"messages_from": self.input_messages.item_reference}
        sent = self.input_messages.template if self.input_messages else []
        at = "/data_source/input_messages/template"
        for index, message in enumerate(sent):
            try:
                validated(TemplateMessage, message)
            except RequestError as error:
                first = error.errors[0]
                raise invalid_request(f"{at}/{index}{first.pointer}", first.message) from None
        return {"messages": sent}


def _answer_schema(params: RunSampling) -> dict[str, Any] | None:
    """The name and the JSON Schema of a structured answer."""
    chat, responses = params.response_format, (params.text or {}).get("format")
    form = chat or responses
    if form is None or form.get("type") == "text":
        return None
    inner = form.get("json_schema") or form
    if form.get("type") != "json_schema" or not isinstance(inner.get("schema"), dict):
        at = "response_format" if chat else "text/format"
        message = "must be of type text, or of type json_schema with a schema"
        raise invalid_request(f"/data_source/sampling_params/{at}", message)
    return {"name": str(inner.get("name", "answer")), "schema": inner["schema"]}
