"""Amazon Bedrock's Converse API; a structured answer is the input of a tool, as for Anthropic.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar
from urllib.parse import quote

import orjson

from assay.domain.completion import Prompt
from assay.domain.errors import KeyRejected, ModelMissing, RateLimited, ServerError, StreamBroken
from assay.domain.images import Image
from assay.domain.models import Model
from assay.domain.sampling import Sampling
from assay.domain.suggestions import did_you_mean
from assay.providers.anthropic import thinking
from assay.providers.body import schema_json
from assay.providers.client import ProviderClient
from assay.providers.credentials import (
    EXPIRY_MARGIN_S,
    FETCH_TIMEOUT_S,
    Credentials,
    OutgoingRequest,
    Renewed,
    import_extra,
)
from assay.providers.failures import Dialect
from assay.providers.http_model import HttpModel
from assay.providers.shapes import count_of, list_of, mapping_of
from assay.providers.sse import EVENT_BYTES_MAX
from assay.providers.stream_accumulator import StreamAccumulator, usage

CREDENTIALS_S = 60.0
"""How long keys are used before botocore is asked, which renews them long before their end."""
_CACHES = re.compile(
    r"anthropic\.claude-(?:3-7|3-5-haiku|[a-z]+-[4-9])|amazon\.nova-(?:micro|lite|pro|premier)"
)
"""Models that take a cache point. Others answer it as if the key were not valid."""
_INPUT_COUNTS = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")

BEDROCK = Dialect(
    codes={
        "AccessDeniedException": KeyRejected,
        "ExpiredTokenException": KeyRejected,
        "IncompleteSignatureException": KeyRejected,
        "InvalidSignatureException": KeyRejected,
        "MissingAuthenticationTokenException": KeyRejected,
        "UnrecognizedClientException": KeyRejected,
        "ResourceNotFoundException": ModelMissing,
        "ThrottlingException": RateLimited,
        "ServiceQuotaExceededException": RateLimited,
        "InternalServerException": ServerError,
        "ModelErrorException": ServerError,
        "ModelNotReadyException": ServerError,
        "ModelStreamErrorException": ServerError,
        "ModelTimeoutException": ServerError,
        "ServiceUnavailableException": ServerError,
    },
    parameters={
        "temperature": "temperature",
        "top_p": "top_p",
        "topp": "top_p",
        "inferenceconfig.topp": "top_p",
        "inferenceconfig.temperature": "temperature",
        "toolconfig": "structured_output",
        "toolconfig.toolchoice.tool": "structured_output",
        "toolchoice": "structured_output",
        "tool_choice": "structured_output",
        "tool use": "structured_output",
        "outputconfig": "structured_output",
        "outputconfig.textformat": "structured_output",
        "structured output": "structured_output",
        "outputconfig.effort": "reasoning_effort",
        "effort": "reasoning_effort",
        "adaptive thinking": "reasoning_effort",
        "budget_tokens": "thinking_budget",
        "thinking.type.enabled": "thinking_budget",
        "cachepoint": "prompt_cache",
    },
)


class EventStreamParser:
    """Turns the frames of AWS's event stream into JSON: `{type: payload}`, or an error."""

    def __init__(self) -> None:
        self._library = import_extra("bedrock", "botocore.eventstream")
        self._frames = self._library.EventStreamBuffer()
        self._held = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes; raises `StreamBroken` for a damaged or huge frame."""
        self._held += len(chunk)
        if self._held > EVENT_BYTES_MAX:
            raise StreamBroken("the provider sent an event beyond the size limit")
        self._frames.add_data(chunk)
        try:
            events = [_event(frame.headers, frame.payload) for frame in self._frames]
        except (self._library.ParserError, ValueError, LookupError):
            raise StreamBroken("the provider sent a damaged event") from None
        self._held = 0 if events else self._held
        return events

    def finish(self) -> list[bytes]:
        """A frame that is not complete is none."""
        return []


def _event(headers: Mapping[str, Any], payload: bytes) -> bytes:
    kind = headers.get(":message-type")
    if kind == "event":
        return b"{%s:%s}" % (orjson.dumps(headers[":event-type"]), payload)
    code = str(headers.get(":exception-type") or headers.get(":error-code") or "")
    fields = mapping_of(orjson.loads(payload or b"{}"))
    said = headers.get(":error-message") or fields.get("message")
    # Inside a stream an exception is written with a small letter.
    return orjson.dumps({"error": {"code": code[:1].upper() + code[1:], "message": said}})


class BedrockStream(StreamAccumulator):
    """Reads Converse's events and answers; what a model thinks is not its answer."""

    dialect = BEDROCK
    stream_type = "application/vnd.amazon.eventstream"
    parser = EventStreamParser

    def read_event(self, event: Any) -> None:
        delta = mapping_of(mapping_of(event.get("contentBlockDelta")).get("delta"))
        self.write(delta.get("text"))
        self.write(mapping_of(delta.get("toolUse")).get("input"), self.tool_input)
        self.finish(mapping_of(event.get("messageStop")).get("stopReason"))
        if metadata := mapping_of(event.get("metadata")):
            self._count(metadata)
            self.end()

    def read_answer(self, answer: Any) -> None:
        for block in map(mapping_of, list_of(answer["output"]["message"].get("content"))):
            self.write(block.get("text"))
            if value := mapping_of(mapping_of(block.get("toolUse")).get("input")):
                self.write(orjson.dumps(value).decode(), self.tool_input)
        self._count(answer)
        self.finish(answer.get("stopReason"))

    def _count(self, answer: Mapping[str, Any]) -> None:
        counts = mapping_of(answer.get("usage"))
        # What is read from a cache or written to it is counted apart.
        input_tokens = sum(count_of(counts.get(name)) for name in _INPUT_COUNTS)
        cached, written = counts.get("cacheReadInputTokens"), counts.get("cacheWriteInputTokens")
        self.usage = usage(input_tokens, counts.get("outputTokens"), 0, cached, written)


class Bedrock(HttpModel):
    """A model, an inference profile or its ARN. The API has neither seeds nor log probabilities."""

    accumulator = BedrockStream
    text_block: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, model: Model, client: ProviderClient) -> None:
        super().__init__(model, client)
        verb = "converse-stream" if client.config.stream else "converse"
        self.path = f"model/{quote(model.name, safe='')}/{verb}"
        self.marks_prefixes = _CACHES.search(model.name) is not None

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        sampling, thinks = prompt.sampling, self._model.thinks(prompt.sampling)
        inference: dict[str, Any] = {"maxTokens": sampling.max_output_tokens}
        if sampling.temperature is not None and not thinks:
            # This API ends at 1, others at 2, and one who thinks takes none.
            inference["temperature"] = min(sampling.temperature, 1.0)
        elif sampling.top_p is not None and not thinks:
            inference["topP"] = sampling.top_p
        document: dict[str, Any] = {
            "messages": [
                {"role": turn.role, "content": self.blocks(turn)}
                for turn in prompt.turns
                if turn.role != "system"
            ],
            "inferenceConfig": inference,
        }
        if system := [turn for turn in prompt.turns if turn.role == "system" and turn.size]:
            document["system"] = [{"text": turn} for turn in system]
        document |= self._thinking(sampling)
        if (answer := self.answer(prompt)) is not None:
            name, schema = answer.name, answer.schema
            if thinks:  # then no model can be made to call a tool
                text = orjson.dumps(schema, default=dict).decode()
                structure = {"jsonSchema": {"name": name, "schema": text}}
                form = {"type": "json_schema", "structure": structure}
                document["outputConfig"] = document.get("outputConfig", {}) | {"textFormat": form}
            else:
                tool = {"name": name, "inputSchema": {"json": schema_json(schema)}}
                choice = {"tool": {"name": name}}
                document["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": choice}
        return document

    @staticmethod
    def marked(blocks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [*blocks, {"cachePoint": {"type": "default"}}]

    @staticmethod
    def image_block(image: Image) -> dict[str, Any]:
        return {"image": {"format": image.format, "source": {"bytes": image.data}}}

    def _thinking(self, sampling: Sampling) -> dict[str, Any]:
        """An effort is a field of this API; how Claude thinks is a field of Claude's own."""
        asked = thinking(sampling)
        document: dict[str, Any] = {}
        if effort := asked.pop("output_config", None):
            document["outputConfig"] = effort
        if asked and "claude" in self._model.name:
            document["additionalModelRequestFields"] = asked
        return document


class SigV4:
    """Signs each request with the keys of a pod, a machine or the environment."""

    def __init__(self, provider: str, session: Any, region: str) -> None:
        self._session = session
        self._region = region
        self._source: Any = None
        self._keys = Renewed(provider, self._fetch)
        self._auth = import_extra("bedrock", "botocore.auth")
        self._request = import_extra("bedrock", "botocore.awsrequest").AWSRequest

    async def headers(self, request: OutgoingRequest) -> Mapping[str, str]:
        keys = await self._keys.value()
        digest = hashlib.sha256()
        for chunk in request.body:
            digest.update(chunk)
        signed = self._request("POST", request.url, {"X-Amz-Content-SHA256": digest.hexdigest()})
        self._auth.SigV4Auth(keys, "bedrock", self._region).add_auth(signed)
        return dict(signed.headers.items())

    def forget(self) -> None:
        self._source = None
        self._keys.forget()

    def _fetch(self) -> tuple[Any, float]:
        if self._source is None:
            self._source = self._session().get_credentials()
        if self._source is None:
            raise import_extra("bedrock", "botocore.exceptions").NoCredentialsError
        keys = self._source.get_frozen_credentials()
        return keys, time.time() + EXPIRY_MARGIN_S + CREDENTIALS_S


def aws_credentials(provider: str, _url: str, region: str) -> Credentials:
    """Keys as botocore finds them; raises `ValueError` without it, or for what it rejects."""
    library = import_extra("bedrock", "botocore.session")
    config = import_extra("bedrock", "botocore.config").Config(
        connect_timeout=FETCH_TIMEOUT_S,
        read_timeout=FETCH_TIMEOUT_S,
        retries={"total_max_attempts": 2},
    )

    def session() -> Any:
        found = library.Session()
        found.set_default_client_config(config)
        return found

    try:
        regions = _regions()
    except import_extra("bedrock", "botocore.exceptions").BotoCoreError as error:
        raise ValueError(f"the AWS configuration is not valid: {error}") from None
    if region not in regions:
        raise ValueError(f"region: AWS has no region {region!r}{did_you_mean(region, regions)}")
    return SigV4(provider, session, region)


@cache
def _regions() -> frozenset[str]:
    session = import_extra("bedrock", "botocore.session").Session()
    return frozenset(
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("ec2", partition)
    )
