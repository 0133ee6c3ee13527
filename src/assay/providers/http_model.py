"""A model over HTTP: a subclass for each dialect writes the requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from assay.domain.completion import CallContext, Completion, Model, Prompt
from assay.providers.body import json_body, merged
from assay.providers.client import ProviderClient
from assay.providers.credentials import ProviderKey
from assay.providers.stream_accumulator import StreamAccumulator

T = TypeVar("T")


class HttpModel(ABC):
    """A `ChatModel` that sends one request for each call.

    It takes prompts as `Prompt.for_model` returns them. `key_header` is where the dialect expects
    an API key.
    """

    accumulator: ClassVar[type[StreamAccumulator]]
    key_header: ClassVar[str] = "Authorization"
    headers: ClassVar[Mapping[str, str]] = {}
    path: str

    def __init__(self, model: Model, client: ProviderClient) -> None:
        self._model = model
        self._client = client
        config = client.config
        self._credentials = config.credentials or ProviderKey(config.api_key, self.key_header)

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        thinks = self._model.thinks(prompt.sampling)
        accumulator = self.accumulator(self._model)
        timing = await self._client.post(
            self.path,
            self.headers,
            self._credentials,
            json_body(merged(self._client.config.body(), self.document(prompt))),
            accumulator,
            context.deadline,
            self._model.thinking_timeout_s if thinks else None,
        )
        return accumulator.completion(timing)

    @abstractmethod
    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        """The request's body; a `Turn` in it stands for its text."""
