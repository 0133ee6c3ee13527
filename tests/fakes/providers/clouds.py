"""The protocols of Azure, Bedrock and Vertex AI, with what their servers insist on."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from fakes.providers.dialects import (
    CACHED_TOKENS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    TOO_LONG,
    Answer,
    AnthropicDialect,
    Dialect,
    GeminiDialect,
    OpenAIDialect,
)
from fakes.providers.sigv4 import is_signed

API_VERSIONS = ("2024-06-01", "2024-10-21")
ANTHROPIC_VERSIONS = ("vertex-2023-10-16", "2026-10-21")
"""The one in Anthropic's documentation, and the one that its client of November 2026 sends."""
REGION, PROJECT, LOCATION = "eu-central-1", "acme-1", "europe-west4"
AWS_KEYS = {"AKIAFAKEFAKEFAKEFAKE": "aws-secret/0123456789+abcdefghijklmnopqr"}
"""The secret of each access key."""
TOKENS: set[str] = set()
"""Bearer tokens that are valid; keys are not checked."""
CLOUD_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "azure": {"dialect": "azure"},
    "bedrock": {"dialect": "bedrock", "region": REGION},
    "vertex": {"dialect": "vertex", "region": LOCATION, "project": PROJECT},
    "vertex_claude": {"dialect": "vertex", "region": LOCATION, "project": PROJECT},
}
"""What the settings of a provider have besides its `base_url`."""
CLOUD_MODELS = {
    "bedrock": "eu.anthropic.claude-judge-1-v1:0",
    "vertex_claude": "claude-judge-1@20261101",
}


def _is_unknown_token(headers: Mapping[str, str]) -> bool:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return scheme == "Bearer" and token.startswith("token-") and token not in TOKENS


class AzureDialect(OpenAIDialect):
    name = "azure"
    _path = re.compile(r"/azure/openai/deployments/[^/]+/(chat/completions|embeddings)")

    def objection(
        self, path: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, str] | None:
        parts = urlsplit(path)
        version = parse_qs(parts.query).get("api-version", [""])[0]
        if not self._path.fullmatch(parts.path) or version not in API_VERSIONS:
            return 404, "404"
        return (401, "401") if _is_unknown_token(headers) else None


class VertexDialect(GeminiDialect):
    name = "vertex"
    keep_alive = b""  # which Google's own client does not read
    _publisher = "google"
    _verbs = ("streamGenerateContent", "generateContent")

    def objection(
        self, path: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, str] | None:
        models = f"/projects/{PROJECT}/locations/{LOCATION}/publishers/{self._publisher}/models/"
        expected = rf"/{self.name}/v1(beta1)?{re.escape(models)}[\w.@-]+:({'|'.join(self._verbs)})"
        if not re.fullmatch(expected, urlsplit(path).path):
            return 404, "404"
        return (401, "401") if _is_unknown_token(headers) else None


class VertexClaudeDialect(AnthropicDialect):
    name = "vertex_claude"

    def objection(
        self, path: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, str] | None:
        body = json.loads(raw)
        models = f"/projects/{PROJECT}/locations/{LOCATION}/publishers/anthropic/models/"
        verb = "streamRawPredict" if body.get("stream") else "rawPredict"
        if not re.fullmatch(rf"/vertex_claude/v1{re.escape(models)}claude-[\w.@-]+:{verb}", path):
            return 404, "404"
        if body.get("anthropic_version") not in ANTHROPIC_VERSIONS or "model" in body:
            return 400, "400"
        return (401, "401") if _is_unknown_token(headers) else None


class BedrockDialect(Dialect):
    name = "bedrock"
    thoughts = 2
    stream_type = "application/vnd.amazon.eventstream"
    keep_alive = b""
    malformed = b"\0\0\0\x20\0\0\0\0not a checksum at all....."
    tools = "toolConfig"
    _codes: Mapping[str, str] = {
        "400": "ValidationException",
        "own_output": "ValidationException",
        "context": "ValidationException",
        "prompt_blocked": "ValidationException",
        "bad_key": "UnrecognizedClientException",
        "401": "UnrecognizedClientException",
        "402": "AccessDeniedException",
        "403": "AccessDeniedException",
        "404": "ResourceNotFoundException",
        "408": "ModelTimeoutException",
        "409": "ConflictException",
        "413": "RequestEntityTooLargeException",
        "422": "ValidationException",
        "429": "ThrottlingException",
        "retry_info": "ThrottlingException",
        "insufficient_quota": "ThrottlingException",
        "503": "ServiceUnavailableException",
        "529": "ServiceUnavailableException",
        "signature": "InvalidSignatureException",
        "other": "InternalServerException",
    }
    _reasons: ClassVar = {
        "length": "max_tokens",
        "content_filter": "content_filtered",
        "prompt_blocked": "guardrail_intervened",
        "aborted": "malformed_model_output",
        "refusal": "refusal",
    }

    def streams(self, path: str, body: Mapping[str, Any]) -> bool:
        return urlsplit(path).path.endswith("/converse-stream")

    def objection(
        self, path: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, str] | None:
        if not re.fullmatch(r"/bedrock/model/[\w.~%-]+/converse(-stream)?", urlsplit(path).path):
            return 404, "404"
        if headers.get("Authorization", "").startswith("Bearer "):
            return None
        if not headers.get("Authorization"):
            return None
        signed = is_signed(path, headers, raw, AWS_KEYS, REGION, "bedrock")
        return None if signed else (403, "signature")

    def schema(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        for tool in request.get("toolConfig", {}).get("tools", ()):
            return tool["toolSpec"]["inputSchema"]["json"]
        form = request.get("outputConfig", {}).get("textFormat")
        return json.loads(form["structure"]["jsonSchema"]["schema"]) if form else None

    def whole(self, answer: Answer) -> dict[str, Any]:
        thought = {"reasoningContent": {"reasoningText": {"text": "Let me think."}}}
        message = {"role": "assistant", "content": [thought, self._block(answer)]}
        return {
            "output": {"message": message},
            "stopReason": self._reason(answer),
            "metrics": {"latencyMs": 12},
            **self._usage(answer),
        }

    def events(self, answer: Answer) -> Iterator[str | dict[str, Any]]:
        yield {"messageStart": {"role": "assistant"}}
        yield self._delta(0, {"reasoningContent": {"text": "Let me think."}})
        yield {"contentBlockStop": {"contentBlockIndex": 0}}
        tool = self._is_tool(answer)
        if tool:
            start = {"toolUse": {"toolUseId": "t-1", "name": "verdict"}}
            yield {"contentBlockStart": {"start": start, "contentBlockIndex": 1}}
        for piece in answer.pieces():
            yield self._delta(1, {"toolUse": {"input": piece}} if tool else {"text": piece})
        yield {"contentBlockStop": {"contentBlockIndex": 1}}
        yield {"messageStop": {"stopReason": self._reason(answer)}}
        yield {"metadata": {"metrics": {"latencyMs": 12}, **self._usage(answer)}}

    def error(self, problem: str, _status: int) -> dict[str, Any]:
        message = f"refused for {problem}"
        if problem == "context":
            message = TOO_LONG["bedrock"]
        return {"message": message, "__type": self.kind(self._codes, problem)}

    def error_headers(self, problem: str) -> dict[str, str]:
        kind = self.kind(self._codes, problem)
        return {"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/"}

    def refusal(self, field: str) -> dict[str, Any]:
        name = field.rpartition(".")[2]
        message = f"The model returned the following errors: `{name}` is not supported."
        return {"message": message, "__type": "ValidationException"}

    def frame(self, event: str | dict[str, Any]) -> bytes:
        assert isinstance(event, dict)
        if kind := event.get("__type"):
            headers = {":message-type": "exception", ":exception-type": kind[0].lower() + kind[1:]}
            return frame(headers, {"message": event["message"]})
        [(kind, payload)] = event.items()
        headers = {":message-type": "event", ":event-type": kind}
        return frame({**headers, ":content-type": "application/json"}, payload)

    def _delta(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        return {"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}}

    def _is_tool(self, answer: Answer) -> bool:
        return answer.structured and answer.tool and answer.ending != "refusal"

    def _block(self, answer: Answer) -> dict[str, Any]:
        if self._is_tool(answer):
            value = {} if answer.ending == "length" else json.loads(answer.text)
            return {"toolUse": {"toolUseId": "t-1", "name": "verdict", "input": value}}
        return {"text": answer.text}

    def _reason(self, answer: Answer) -> str:
        usual = "tool_use" if self._is_tool(answer) else "end_turn"
        return self._reasons.get(answer.ending, usual)

    def _usage(self, answer: Answer) -> dict[str, Any]:
        counts = {
            "inputTokens": INPUT_TOKENS - CACHED_TOKENS - 5,
            "cacheReadInputTokens": CACHED_TOKENS,
            "cacheWriteInputTokens": 5,
            "outputTokens": OUTPUT_TOKENS,
            "totalTokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }
        return {"usage": counts}


def frame(headers: Mapping[str, str], payload: Mapping[str, Any]) -> bytes:
    """One message of AWS's event stream: lengths, their checksum, headers, payload, checksum."""
    head = b"".join(
        struct.pack(f"!B{len(name)}sBH", len(name), name.encode(), 7, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    body = json.dumps(payload, ensure_ascii=False).encode()
    lengths = struct.pack("!II", 16 + len(head) + len(body), len(head))
    message = lengths + struct.pack("!I", zlib.crc32(lengths)) + head + body
    return message + struct.pack("!I", zlib.crc32(message))


CLOUDS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (AzureDialect(), BedrockDialect(), VertexDialect(), VertexClaudeDialect())
}
