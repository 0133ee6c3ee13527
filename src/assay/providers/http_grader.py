"""A grader over HTTP: a case is posted to an allowed host, signed, and a verdict comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import orjson
from yarl import URL

from assay.domain.completion import CallContext, Completion, Prompt
from assay.domain.errors import (
    AnswerUnusable,
    KeyRejected,
    ModelError,
    PromptUnsendable,
    RateLimited,
)
from assay.domain.models import Model
from assay.domain.signing import MESSAGE_ID, is_secret, signature_headers
from assay.providers.client import ProviderClient
from assay.providers.credentials import OutgoingRequest
from assay.providers.failures import Dialect
from assay.providers.stream_accumulator import StreamAccumulator

T = TypeVar("T")

GRADER_ANSWER_BYTES_MAX = 64 * 1024
GRADER = Dialect(codes={}, statuses={429: RateLimited})
"""A 401 or 404 speaks of the URL that a caller named: it must not close the host to the others."""


class Signature:
    """`Credentials` that sign each message as a webhook is signed."""

    def __init__(self, secret: Callable[[], str | None]) -> None:
        self._secret = secret

    async def headers(self, request: OutgoingRequest) -> Mapping[str, str]:
        secret = self._secret() or ""
        if not is_secret(secret):
            raise KeyRejected("The secret that signs requests to HTTP graders is not usable.")
        body = b"".join(request.body).decode()
        return signature_headers(secret, request.headers[MESSAGE_ID], body)

    def forget(self) -> None:
        """The secret is read for each message in any case."""


class GraderAnswer(StreamAccumulator):
    """Takes one JSON object as it is; what it means is for the prompt's reader."""

    dialect = GRADER
    stream_type = ""
    malformed: ClassVar[type[ModelError]] = AnswerUnusable
    answer_bytes_max = GRADER_ANSWER_BYTES_MAX

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.provider = model.name  # the host, by which errors call it

    def read_event(self, event: Any) -> None:
        raise TypeError(event)

    def read_answer(self, answer: Any) -> None:
        self.write(orjson.dumps(answer).decode())
        self.finish("stop")


class HttpGrader:
    """A `ChatModel` for prompts of two turns: the URL, and the JSON that is posted to it.

    Every attempt at the same prompt for the same request carries the same id.
    """

    def __init__(self, model: Model, client: ProviderClient) -> None:
        self._model = model
        self._client = client
        self._credentials = client.config.credentials or Signature(lambda: None)

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        url, text = (turn.text for turn in prompt.turns)
        digest = hashlib.blake2b(f"{context.caller.request_id}\0{url}\0".encode(), digest_size=16)
        try:
            digest.update(text.encode())
        except UnicodeEncodeError:
            raise PromptUnsendable("The case has a text that is not Unicode.") from None
        answer = GraderAnswer(self._model)
        timing = await self._client.post(
            URL(url).raw_path_qs.removeprefix("/"),
            {"Content-Type": "application/json", MESSAGE_ID: f"msg_{digest.hexdigest()}"},
            self._credentials,
            lambda: [text.encode()],
            answer,
            context.deadline,
            size=len(text),
        )
        return replace(answer.completion(timing), provider=self._model.provider)
