"""A model over HTTP: a subclass for each dialect writes the requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Never, TypeVar

from assay.domain.completion import AnswerSchema, CallContext, Completion, Prompt, Turn
from assay.domain.errors import InputUnsupported, ModelError, ModelMissing, StreamBroken
from assay.domain.images import Image
from assay.domain.models import Model
from assay.providers.body import Chunk, json_body, merged
from assay.providers.client import ProviderClient
from assay.providers.credentials import OutgoingRequest, ProviderKey
from assay.providers.failures import ProviderError, embedded_error, failure, refuses_images
from assay.providers.shapes import MISSHAPEN
from assay.providers.stream_accumulator import StreamAccumulator, Timing

T = TypeVar("T")


class HttpModel(ABC):
    """A `ChatModel` that sends one request for each call.

    It takes prompts as `Prompt.for_model` returns them. `key_header` is where the dialect expects
    an API key. The provider `shows_schema` to the model before all else, or only binds the answer
    by it. A dialect that `marks_prefixes` says up to where a prompt is to be cached.
    """

    shows_schema: bool = True
    marks_prefixes: bool = False

    text_block: ClassVar[Mapping[str, Any]] = {"type": "text"}

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
        try:
            timing = await self._client.post(
                self.path,
                self.headers,
                self._credentials,
                lambda: self.body(self.document(prompt)),
                accumulator,
                context.deadline,
                self._model.thinking_timeout_s if thinks else None,
                size=prompt.size,
            )
        except ModelError as error:
            if prompt.has_images and refuses_images(error):
                raise InputUnsupported(error.message) from None
            if isinstance(error, ModelMissing):
                asked = f" (asked for the model {self._model.name!r})"
                error.message, error.log_message = error.message + asked, error.log_message + asked
            raise
        return accumulator.completion(timing)

    def body(self, document: Mapping[str, Any]) -> list[Chunk]:
        """A document as it is sent, with what the configuration adds."""
        return json_body(merged(self._client.config.body(), document))

    def read(self, answer: Any) -> Completion[Never]:
        """An answer that a job brought; raises as `complete` does for one that is of no use."""
        accumulator = self.accumulator(self._model)
        try:
            if (error := embedded_error(answer)) is not None:
                found = ProviderError.read(None, error, {})
                raise failure(self._model.provider, accumulator.dialect, found)
            accumulator.read_answer(answer)
        except MISSHAPEN:
            raise StreamBroken(f"{self._model.provider} sent a malformed answer") from None
        return accumulator.completion(Timing(0.0, 0.0))

    def exchange(
        self, method: str, path: str, body: list[Chunk], headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Callable[[], Awaitable[bytes]]]:
        """Any other request to the provider; see `ProviderClient.exchange`."""
        request = OutgoingRequest(path, {**self.headers, **headers}, body, method)
        return self._client.exchange(request, self._credentials, self.accumulator.dialect)

    def content(self, turn: Turn) -> Any:
        """A turn as the content of a message: its text, or blocks where it has images or a mark."""
        is_marked = turn.shared and self.marks_prefixes
        return self.blocks(turn) if turn.has_images or is_marked else turn

    def answer(self, prompt: Prompt[Any]) -> AnswerSchema | None:
        """The schema to send: the one that all calls with the same beginning share, if any."""
        if prompt.answer is None or prompt.shared is None or not self.shows_schema:
            return prompt.answer
        return prompt.shared.answer or prompt.answer

    def blocks(self, turn: Turn) -> list[Mapping[str, Any]]:
        """The blocks of a turn, in its order."""
        if turn.shared and self.marks_prefixes:
            shared, own = turn.halves()
            return [*self.marked(self.blocks(shared)), *self.blocks(own)]
        return [
            self.image_block(one) if isinstance(one, Image) else {**self.text_block, "text": one}
            for one in turn.blocks()
        ]

    @staticmethod
    def marked(blocks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The blocks with the mark at their end up to which the provider caches."""
        return blocks

    @staticmethod
    def image_block(image: Image) -> Mapping[str, Any]:
        """An image as the dialect's messages hold it; raises `InputUnsupported` by default."""
        del image
        raise InputUnsupported("The provider's protocol has no images.")

    @abstractmethod
    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        """The request's body; a `Turn` in it stands for its text."""
