"""OpenAI's chat completions, as OpenAI, Azure and compatible servers (Ollama, vLLM, …) serve them.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Any, ClassVar

from assay.domain.completion import Prompt
from assay.domain.images import Image
from assay.domain.models import Model
from assay.providers.body import given, schema_json
from assay.providers.client import ProviderClient
from assay.providers.openai.dialect import (
    OPENAI,
    TOP_LOGPROBS_MAX,
    OpenAIModel,
    detail_of,
    token_logprobs,
    usage_of,
)
from assay.providers.shapes import first_of, list_of, mapping_of
from assay.providers.stream_accumulator import StreamAccumulator

_NEWER_FIELD, _OLDER_FIELD = "max_completion_tokens", "max_tokens"
_OTHER_FIELD = {_NEWER_FIELD: _OLDER_FIELD, _OLDER_FIELD: _NEWER_FIELD}


class OpenAIStream(StreamAccumulator):
    """Reads chunks (`delta`) and whole answers (`message`), which differ only in that name."""

    dialect = OPENAI

    def read_event(self, event: Any) -> None:
        self._read(event, "delta")

    def read_answer(self, answer: Any) -> None:
        self._read(answer, "message")

    def _read(self, chunk: Any, part: str) -> None:
        if (name := chunk.get("model")) and isinstance(name, str):
            self.served_by = name
        if chunk.get("usage"):
            self.usage = usage_of(chunk, "prompt", "completion") or self.usage
        choice = first_of(chunk.get("choices"))
        message = mapping_of(choice.get(part))
        if content := message.get("content"):
            self._write_content(content)
        if refusal := message.get("refusal"):
            self.write(refusal, self.refusal)
        if calls := message.get("tool_calls"):
            self._add_calls(calls)
        if logprobs := choice.get("logprobs"):
            self.add_logprobs(token_logprobs, mapping_of(logprobs).get("content") or ())
        if word := choice.get("finish_reason"):
            self.finish(word)

    def _add_calls(self, calls: Any) -> None:
        for place, call in enumerate(map(mapping_of, list_of(calls))):
            function = mapping_of(call.get("function"))
            key = call.get("index", place)
            self.add_call(key, call.get("id"), function.get("name"), function.get("arguments"))

    def _write_content(self, content: Any) -> None:
        """A text or a list of parts; parts of other types, such as thinking, are not the answer."""
        for part in content if isinstance(content, list) else (content,):
            if isinstance(part, str):
                self.write(part)
                continue
            fields = mapping_of(part)
            match fields.get("type", "text"):
                case "text" | "output_text":
                    self.write(fields.get("text"))
                case "refusal":
                    self.write(fields.get("refusal"), self.refusal)


class OpenAI(OpenAIModel):
    """A model behind chat completions, with or without an API key.

    If a server reports no usage, it is 0: nothing is estimated.
    """

    accumulator = OpenAIStream
    path = "chat/completions"
    output_limit_field: ClassVar[str] = ""

    def __init__(self, model: Model, client: ProviderClient) -> None:
        super().__init__(model, client)
        config = client.config
        configured = config.output_limit_field or self.output_limit_field
        # The newer field, which reasoning models need, or the older one of compatible servers.
        usual = _NEWER_FIELD if self.is_openais else _OLDER_FIELD
        self._output_limit = configured or usual

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        sampling, output_limit = prompt.sampling, self._output_limit
        if "max_output_tokens" in prompt.refused:
            output_limit = _OTHER_FIELD.get(output_limit, _OLDER_FIELD)
        document: dict[str, Any] = {
            "model": self._model.name,
            "messages": [
                {"role": turn.role, "content": self.content(turn)} for turn in prompt.turns
            ],
            output_limit: sampling.max_output_tokens,
            **given(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=sampling.seed,
                reasoning_effort=sampling.reasoning_effort,
            ),
            **self.caching(prompt),
        }
        if self._client.config.stream:
            document |= {"stream": True, "stream_options": {"include_usage": True}}
        if sampling.top_logprobs:
            top = min(sampling.top_logprobs, TOP_LOGPROBS_MAX)
            document |= {"logprobs": True, "top_logprobs": top}
        if (answer := self.answer(prompt)) is not None:
            form = {"name": answer.name, "strict": True, "schema": schema_json(answer.schema)}
            document["response_format"] = {"type": "json_schema", "json_schema": form}
            if answer.is_any_object:
                document["response_format"] = {"type": "json_object"}
        if prompt.tools:
            tools = [{"type": "function", "function": tool} for tool in prompt.tools]
            document["tools"] = tools
        return document

    @staticmethod
    def image_block(image: Image) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": image.data_uri} | detail_of(image)}
