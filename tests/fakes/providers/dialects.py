"""How each provider writes answers, streams and errors: the server's half of the protocols."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fakes.providers.faults import Ending

PIECE_CHARS = 24
INPUT_TOKENS, OUTPUT_TOKENS, THOUGHT_TOKENS, CACHED_TOKENS = 120, 30, 12, 20
TOO_LONG = {
    "openai": "This model's maximum context length is 8192 tokens.",
    "openai_responses": "Your input exceeds the context window of this model.",
    "anthropic": "prompt is too long: 210000 tokens > 200000 maximum",
    "bedrock": "Input is too long for requested model.",
    "gemini": "The input token count (2000000) exceeds the maximum number of tokens allowed.",
}


@dataclass(frozen=True)
class Answer:
    """What to say: its text, how it ends, and whether the request asked for a structure."""

    text: str
    ending: Ending
    structured: bool = False
    tool: bool = False
    logprobs: bool = False
    usage: bool = True
    piece_chars: int = PIECE_CHARS

    def pieces(self) -> list[str]:
        size = self.piece_chars
        return [self.text[i : i + size] for i in range(0, len(self.text), size)]


class Dialect(ABC):
    """One provider's side of its protocol.

    The first `thoughts` events of a stream are no answer.
    """

    name: str
    thoughts: int
    stream_type = "text/event-stream; charset=utf-8"
    keep_alive = b": keep-alive\n\n"
    malformed = b'data: {"choices": [{"delta": \n\n'
    tools = "tools"
    filters_beforehand = False
    filter_is_refusal = False

    def streams(self, path: str, body: Mapping[str, Any]) -> bool:
        """Whether the request asks for a stream."""
        return bool(body.get("stream"))

    def objection(
        self, path: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, str] | None:
        """The status and problem of a request that is not in the protocol's form."""
        return None

    def error_headers(self, problem: str) -> dict[str, str]:
        """What an error has besides its body."""
        return {}

    @abstractmethod
    def schema(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The schema of the answer that the request asks for."""

    @abstractmethod
    def whole(self, answer: Answer) -> dict[str, Any]:
        """An answer that is not streamed."""

    @abstractmethod
    def events(self, answer: Answer) -> Iterator[str | dict[str, Any]]:
        """The data of a stream's events."""

    @abstractmethod
    def error(self, problem: str, status: int) -> dict[str, Any]:
        """The body of an error."""

    def embedded(self, vectors: Sequence[Any], *, usage: bool) -> dict[str, Any]:
        """An answer of an embedding model, in OpenAI's form."""
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ]
        counts = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS} if usage else None
        return {"object": "list", "data": data, "model": "served-1", "usage": counts}

    def texts(self, request: Mapping[str, Any]) -> list[str]:
        """What an embedding model is asked to embed, in OpenAI's form."""
        return list(request["input"])

    def refusal(self, field: str) -> dict[str, Any]:
        """The body of an error about a field of the request that is not supported."""
        body = self.error("400", 400)
        body["error"]["message"] = f"`{field.rpartition('.')[2]}` is not supported for this model."
        return body

    def frame(self, event: str | dict[str, Any]) -> bytes:
        data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        return f"data: {data}\n\n".encode()

    def kind(self, table: Mapping[str, str], problem: str) -> str:
        return table.get(problem, table["other"])


class OpenAIDialect(Dialect):
    name = "openai"
    thoughts = 2
    filters_beforehand = True
    too_long = "openai"
    _codes: Mapping[str, str] = {
        "401": "invalid_api_key",
        "bad_key": "invalid_api_key",
        "404": "model_not_found",
        "context": "context_length_exceeded",
        "429": "rate_limit_exceeded",
        "529": "server_error",
        "prompt_blocked": "content_filter",
        "own_output": "json_validate_failed",
        "insufficient_quota": "insufficient_quota",
        "other": "unknown",
    }

    def schema(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        asked = request.get("response_format", {}).get("json_schema", {}).get("schema")
        return asked if isinstance(asked, dict) else None

    def whole(self, answer: Answer) -> dict[str, Any]:
        said = "refusal" if answer.ending == "refusal" else "content"
        message = {"role": "assistant", "content": None, "refusal": None, said: answer.text}
        whole = self._chunk("chat.completion", "message", message, answer)
        return whole | {"usage": self._usage()} if answer.usage else whole

    def events(self, answer: Answer) -> Iterator[str | dict[str, Any]]:
        part, said = ("delta", "refusal" if answer.ending == "refusal" else "content")
        kind = "chat.completion.chunk"
        yield self._chunk(kind, part, {"role": "assistant", "content": ""}, None)
        yield self._chunk(kind, part, {"reasoning_content": "Let me think."}, None)
        for piece in answer.pieces():
            chunk = self._chunk(kind, part, {said: piece}, None)
            if answer.logprobs:
                chunk["choices"][0]["logprobs"] = {"content": [_logprob(piece)]}
            yield chunk
        yield self._chunk(kind, part, {}, answer)
        if answer.usage:
            yield {"model": "served-1", "choices": [], "usage": self._usage()}
        yield "[DONE]"

    def error(self, problem: str, _status: int) -> dict[str, Any]:
        message = TOO_LONG[self.too_long] if problem == "context" else f"refused for {problem}"
        code = self.kind(self._codes, problem)
        return {"error": {"message": message, "type": "x_error", "param": None, "code": code}}

    def refusal(self, field: str) -> dict[str, Any]:
        message = f"Unsupported parameter: '{field}' is not supported with this model."
        code = "unsupported_parameter"
        return {"error": {"message": message, "type": "x_error", "param": field, "code": code}}

    def _chunk(
        self, kind: str, part: str, message: dict[str, Any], answer: Answer | None
    ) -> dict[str, Any]:
        reason = None
        if answer is not None:
            named = ("length", "content_filter", "aborted")
            reason = answer.ending if answer.ending in named else "stop"
        choice: dict[str, Any] = {"index": 0, part: message, "finish_reason": reason}
        if answer is not None and answer.logprobs and part == "message":
            choice["logprobs"] = {"content": [_logprob(piece) for piece in answer.pieces()]}
        return {"id": "c-1", "object": kind, "model": "served-1", "choices": [choice]}

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": INPUT_TOKENS,
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
            "completion_tokens": OUTPUT_TOKENS,
            "completion_tokens_details": {"reasoning_tokens": THOUGHT_TOKENS},
        }


class SystemOneDialect(OpenAIDialect):
    """Errors alone: what is answered is made by `Script.decide`."""

    name = "systemone"

    def streams(self, path: str, body: Mapping[str, Any]) -> bool:
        return False


class ResponsesDialect(OpenAIDialect):
    name = "openai_responses"
    too_long = "openai_responses"
    thoughts = 4

    def schema(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        asked = request.get("text", {}).get("format", {}).get("schema")
        return asked if isinstance(asked, dict) else None

    def whole(self, answer: Answer) -> dict[str, Any]:
        reason = {
            "length": "max_output_tokens",
            "content_filter": "content_filter",
            "aborted": "an_ending_of_tomorrow",
        }.get(answer.ending)
        response = self._response("incomplete" if reason else "completed")
        response["incomplete_details"] = {"reason": reason} if reason else None
        part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": []}
        if answer.ending == "refusal":
            part = {"type": "refusal", "refusal": answer.text}
        elif answer.logprobs:
            part["logprobs"] = [_logprob(piece) for piece in answer.pieces()]
        response["output"] = [
            {"type": "reasoning", "id": "rs-1", "summary": []},
            {"type": "message", "id": "msg-1", "role": "assistant", "content": [part]},
        ]
        if answer.usage:
            response["usage"] = {
                "input_tokens": INPUT_TOKENS,
                "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
                "output_tokens": OUTPUT_TOKENS,
                "output_tokens_details": {"reasoning_tokens": THOUGHT_TOKENS},
            }
        return response

    def events(self, answer: Answer) -> Iterator[str | dict[str, Any]]:
        thought = {"type": "reasoning", "id": "rs-1", "summary": []}
        for number, event in enumerate(self._events(answer, thought)):
            yield event | {"sequence_number": number}

    def _events(self, answer: Answer, thought: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield {"type": "response.created", "response": self._response("in_progress")}
        yield {"type": "response.in_progress", "response": self._response("in_progress")}
        yield {"type": "response.output_item.added", "output_index": 0, "item": thought}
        yield {"type": "response.reasoning_summary_text.delta", "delta": "Let me think."}
        said = "refusal" if answer.ending == "refusal" else "output_text"
        for piece in answer.pieces():
            logprobs = [_logprob(piece)] if answer.logprobs else []
            yield {"type": f"response.{said}.delta", "delta": piece, "logprobs": logprobs}
        yield {"type": f"response.{said}.done", "text": answer.text}
        whole = self.whole(answer)
        yield {"type": f"response.{whole['status']}", "response": whole}

    def frame(self, event: str | dict[str, Any]) -> bytes:
        if isinstance(event, dict) and "type" not in event:
            failed = self._response("failed") | event
            event = {"type": "response.failed", "response": failed}
        kind = event["type"] if isinstance(event, dict) else "message"
        return f"event: {kind}\n".encode() + super().frame(event)

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": "resp-1",
            "object": "response",
            "model": "served-1",
            "status": status,
            "error": None,
        }


class AnthropicDialect(Dialect):
    name = "anthropic"
    thoughts = 5
    filter_is_refusal = True  # Anthropic has no other word for it
    _types: Mapping[str, str] = {
        "400": "invalid_request_error",
        "own_output": "invalid_request_error",
        "context": "invalid_request_error",
        "bad_key": "authentication_error",
        "401": "authentication_error",
        "402": "billing_error",
        "403": "permission_error",
        "404": "not_found_error",
        "409": "invalid_request_error",
        "413": "request_too_large",
        "422": "invalid_request_error",
        "429": "rate_limit_error",
        "retry_info": "rate_limit_error",
        "insufficient_quota": "rate_limit_error",
        "529": "overloaded_error",
        "other": "api_error",
    }

    def schema(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        tools = request.get("tools") or [{}]
        form = request.get("output_config", {}).get("format", {})
        asked = tools[0].get("input_schema") or form.get("schema")
        return asked if isinstance(asked, dict) else None

    def whole(self, answer: Answer) -> dict[str, Any]:
        return self._message() | {
            "content": [{"type": "thinking", "thinking": "Let me think."}, self._block(answer)],
            "stop_reason": self._reason(answer),
            "usage": self._usage() | self._output_usage(),
        }

    def events(self, answer: Answer) -> Iterator[str | dict[str, Any]]:
        message = self._message() | {"content": [], "usage": self._usage() | {"output_tokens": 1}}
        yield {"type": "message_start", "message": message}
        yield {"type": "ping"}
        thought = {"type": "thinking", "thinking": "", "signature": ""}
        yield {"type": "content_block_start", "index": 0, "content_block": thought}
        delta: dict[str, str] = {"type": "thinking_delta", "thinking": "Let me think."}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        empty = {"type": "tool_use", "id": "t-1", "name": "verdict", "input": {}}
        block = empty if self._is_tool(answer) else {"type": "text", "text": ""}
        yield {"type": "content_block_start", "index": 1, "content_block": block}
        for piece in answer.pieces():
            delta = {"type": "text_delta", "text": piece}
            if self._is_tool(answer):
                delta = {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": 1, "delta": delta}
        yield {"type": "content_block_stop", "index": 1}
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": self._reason(answer), "stop_sequence": None},
            "usage": self._output_usage(),
        }
        yield {"type": "message_stop"}

    def error(self, problem: str, _status: int) -> dict[str, Any]:
        message = TOO_LONG["anthropic"] if problem == "context" else f"refused for {problem}"
        error = {"type": self.kind(self._types, problem), "message": message}
        return {"type": "error", "error": error, "request_id": "r-1"}

    def frame(self, event: str | dict[str, Any]) -> bytes:
        kind = event["type"] if isinstance(event, dict) else "message"
        return f"event: {kind}\n".encode() + super().frame(event)

    def _message(self) -> dict[str, Any]:
        return {"id": "m-1", "type": "message", "role": "assistant", "model": "served-1"}

    def _usage(self) -> dict[str, int]:
        return {
            "input_tokens": INPUT_TOKENS - CACHED_TOKENS,
            "cache_read_input_tokens": CACHED_TOKENS,
        }

    def _output_usage(self) -> dict[str, Any]:
        details = {"thinking_tokens": THOUGHT_TOKENS}
        return {"output_tokens": OUTPUT_TOKENS, "output_tokens_details": details}

    def _is_tool(self, answer: Answer) -> bool:
        return answer.structured and answer.tool and answer.ending != "refusal"

    def _block(self, answer: Answer) -> dict[str, Any]:
        if self._is_tool(answer):
            # A cut tool call comes with an input of its own making: here, an empty one.
            value = {} if answer.ending == "length" else json.loads(answer.text)
            return {"type": "tool_use", "id": "t-1", "name": "verdict", "input": value}
        return {"type": "text", "text": answer.text}

    def _reason(self, answer: Answer) -> str:
        table = {"length": "max_tokens", "refusal": "refusal", "aborted": "pause_turn"}
        return table.get(answer.ending, "tool_use" if self._is_tool(answer) else "end_turn")


class GeminiDialect(Dialect):
    name = "gemini"
    thoughts = 1

    def streams(self, path: str, body: Mapping[str, Any]) -> bool:
        return "alt=sse" in path

    _statuses: Mapping[str, str] = {
        "400": "INVALID_ARGUMENT",
        "own_output": "INVALID_ARGUMENT",
        "context": "INVALID_ARGUMENT",
        "bad_key": "INVALID_ARGUMENT",
        "401": "UNAUTHENTICATED",
        "403": "PERMISSION_DENIED",
        "404": "NOT_FOUND",
        "429": "RESOURCE_EXHAUSTED",
        "retry_info": "RESOURCE_EXHAUSTED",
        "insufficient_quota": "RESOURCE_EXHAUSTED",
        "500": "INTERNAL",
        "503": "UNAVAILABLE",
        "504": "DEADLINE_EXCEEDED",
        "529": "UNAVAILABLE",
        "other": "UNKNOWN",
    }

    def schema(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        asked = request.get("generationConfig", {}).get("responseJsonSchema")
        return asked if isinstance(asked, dict) else None

    def whole(self, answer: Answer) -> dict[str, Any]:
        if answer.ending == "prompt_blocked":
            return self._response([], None) | {"promptFeedback": {"blockReason": "SAFETY"}}
        thought = {"text": "Let me think.", "thought": True}
        response = self._response([thought, {"text": answer.text}], answer)
        return response | {"usageMetadata": self._usage()}

    def events(self, answer: Answer) -> Iterator[str | dict[str, Any]]:
        if answer.ending == "prompt_blocked":
            yield self.whole(answer)
            return
        yield self._response([{"text": "Let me think.", "thought": True}], None)
        for piece in answer.pieces():
            yield self._response([{"text": piece}], None)
        yield self._response([{"text": ""}], answer) | {"usageMetadata": self._usage()}

    def embedded(self, vectors: Sequence[Any], *, usage: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"embeddings": [{"values": vector} for vector in vectors]}
        return body | ({"usageMetadata": {"promptTokenCount": INPUT_TOKENS}} if usage else {})

    def texts(self, request: Mapping[str, Any]) -> list[str]:
        return [asked["content"]["parts"][0]["text"] for asked in request["requests"]]

    def error(self, problem: str, status: int) -> dict[str, Any]:
        message = TOO_LONG["gemini"] if problem == "context" else f"refused for {problem}"
        named = self.kind(self._statuses, problem)
        error: dict[str, Any] = {"code": status, "message": message, "status": named}
        if problem == "bad_key":
            info = "type.googleapis.com/google.rpc.ErrorInfo"
            error["details"] = [{"@type": info, "reason": "API_KEY_INVALID"}]
        if problem == "retry_info":
            info = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": info, "retryDelay": "34.5s"}]
        return {"error": error}

    def _response(self, parts: list[dict[str, Any]], answer: Answer | None) -> dict[str, Any]:
        response: dict[str, Any] = {"modelVersion": "served-1"}
        if parts:
            response["candidates"] = [{"content": {"role": "model", "parts": parts}, "index": 0}]
        if parts and answer is not None:
            reasons = {
                "length": "MAX_TOKENS",
                "content_filter": "SAFETY",
                "refusal": "OTHER",
                "aborted": "MALFORMED_FUNCTION_CALL",
            }
            response["candidates"][0]["finishReason"] = reasons.get(answer.ending, "STOP")
        if parts and answer is not None and answer.logprobs:
            response["candidates"][0]["logprobsResult"] = {
                "chosenCandidates": [{"token": "yes", "logProbability": -0.1}],
                "topCandidates": [{"candidates": [{"token": "yes", "logProbability": -0.1}]}],
            }
        return response

    def _usage(self) -> dict[str, int]:
        return {
            "promptTokenCount": INPUT_TOKENS,
            "candidatesTokenCount": OUTPUT_TOKENS - THOUGHT_TOKENS,
            "thoughtsTokenCount": THOUGHT_TOKENS,
            "cachedContentTokenCount": CACHED_TOKENS,
        }


def _logprob(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.1, "top_logprobs": [{"token": token, "logprob": -0.1}]}


DIALECTS: Mapping[str, Dialect] = {
    each.name: each
    for each in (OpenAIDialect(), ResponsesDialect(), AnthropicDialect(), GeminiDialect())
}
