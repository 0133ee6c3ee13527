"""A model over HTTP: a subclass for each dialect writes the requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from assay.domain.completion import CallContext, Completion, Model, Prompt
from assay.domain.errors import ModelMissing
from assay.providers.body import json_body
from assay.providers.client import ProviderClient
from assay.providers.stream_accumulator import StreamAccumulator

T = TypeVar("T")


class HttpModel(ABC):
    """A `ChatModel` that sends one request for each call.

    It takes prompts as `Prompt.for_model` returns them.
    """

    accumulator: ClassVar[type[StreamAccumulator]]
    path: str

    def __init__(self, model: Model, client: ProviderClient) -> None:
        self._model = model
        self._client = client

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        thinks = self._model.thinks(prompt.sampling)
        accumulator = self.accumulator(self._model)
        try:
            timing = await self._client.post(
                self.path,
                self.headers,
                json_body(self.document(prompt)),
                accumulator,
                context.deadline,
                self._model.thinking_timeout_s if thinks else None,
            )
        except ModelMissing as error:
            asked = f" (asked for the model {self._model.name!r})"
            error.message, error.log_message = error.message + asked, error.log_message + asked
            raise
        return accumulator.completion(timing)

    @abstractmethod
    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        """The request's body; a `Turn` in it stands for its text."""

    @staticmethod
    @abstractmethod
    def headers(key: str | None) -> Mapping[str, str]:
        """The dialect's headers, with the API key if there is one."""
