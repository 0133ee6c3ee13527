"""An answer while it is received: a subclass for each dialect reads its events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Never, Protocol

from assay.domain.completion import NO_USAGE, Completion, TokenLogprob, Usage
from assay.domain.errors import ContentFiltered, ModelError, StreamBroken
from assay.domain.models import Model
from assay.domain.policy import Costs
from assay.providers.failures import Dialect, safe_text
from assay.providers.shapes import MISSHAPEN, count_of, text_of
from assay.providers.sse import EVENT_BYTES_MAX, EventParser

TEXT_CHARS_MAX = 4 * 1024 * 1024
"""Longest answer that is read; a verdict has a few hundred characters."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a call took, from the moment it was sent."""

    first_byte_ms: float
    latency_ms: float


class StreamParser(Protocol):
    """Turns the chunks of a stream, cut anywhere, into the JSON of its events."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes; raises `StreamBroken`."""

    def finish(self) -> list[bytes]:
        """What the end of the stream completes."""


class StreamAccumulator(ABC):
    """Collects one answer.

    A field of an unexpected shape counts as left out. What the `read_` methods raise all the same,
    a KeyError, TypeError or the like, reaches the caller as `StreamBroken`.
    """

    dialect: ClassVar[Dialect]
    stream_type: ClassVar[str] = "text/event-stream"
    parser: ClassVar[type[StreamParser]] = EventParser
    malformed: ClassVar[type[ModelError]] = StreamBroken
    """What an answer of another form means."""
    answer_bytes_max: ClassVar[int] = EVENT_BYTES_MAX
    """Of an answer that is not streamed; as for one event."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.provider = model.provider
        self._parts: list[str] = []
        self._chars = 0
        self._finish_word = ""
        self._logprobs: list[TokenLogprob] = []
        self._logprobs_known = True
        self.tool_input: list[str] = []
        self.refusal: list[str] = []
        self._calls: dict[Any, tuple[dict[str, str], list[str]]] = {}
        self.ended = False
        self.served_by = model.name
        self.usage = NO_USAGE
        self.quota_left: Costs = {}

    @abstractmethod
    def read_event(self, event: Any) -> None:
        """Read one parsed event of a stream; raises the `ModelError` that it stands for."""

    @abstractmethod
    def read_answer(self, answer: Any) -> None:
        """Read a whole answer that was not streamed."""

    def end(self) -> None:
        """The stream has ended: nothing more follows, even if it is still open."""
        self.ended = True

    def finish(self, word: Any) -> None:
        """The answer ends with this word of the provider; null and "" are none."""
        self._finish_word = text_of(word) or self._finish_word

    def write(self, value: Any, into: list[str] | None = None) -> None:
        """Add text, if it is one, to the answer (or to `into`), up to the longest answer."""
        if not isinstance(value, str) or not value:
            return
        self._chars += len(value)
        if self._chars > TEXT_CHARS_MAX:
            raise StreamBroken("the provider's answer is beyond the size limit")
        (self._parts if into is None else into).append(value)

    def add_call(self, key: Any, id_: Any, name: Any, arguments: Any) -> None:
        """Add a call of one of the prompt's tools, or a further part of it."""
        known, written = self._calls.setdefault(key, ({}, []))
        for field, value in (("id", id_), ("name", name)):
            if text := text_of(value):
                known[field] = text
        self.write(arguments, written)

    def add_logprobs(self, read: Callable[[Any], Iterable[TokenLogprob]], value: Any) -> None:
        """Add what `read` makes of `value`; one gap, and none are known for the whole answer."""
        try:
            self._logprobs.extend(read(value))
        except MISSHAPEN:
            self._logprobs_known = False

    @property
    def answering(self) -> bool:
        """Whether anything of the answer has arrived; thinking is no part of it."""
        return self._chars > 0

    def text(self) -> str:
        """The answer: where the model called a tool, the input that it wrote for it."""
        return "".join(self.tool_input or self.refusal or self._parts)

    def completion(self, timing: Timing) -> Completion[Never]:
        """The finished answer.

        Raises `StreamBroken` if it has no end or none that is known, `ContentFiltered` if the
        provider withheld it.
        """
        if not self._finish_word:
            raise StreamBroken(f"{self.provider} cut off its answer")
        finish = self.dialect.finishes.get(self._finish_word.casefold().replace("-", "_"))
        if finish is None:
            word = safe_text(self._finish_word)
            raise self._counted(StreamBroken(f"{self.provider} broke off its answer: {word}"))
        if finish == "content_filter":
            filtered = f"{self.provider} filtered the prompt or its answer"
            raise self._counted(ContentFiltered(filtered))
        return Completion(
            text=self.text(),
            finish="refusal" if self.refusal else finish,
            provider=self.provider,
            model=self.served_by,
            usage=self.usage,
            cost_usd=self._model.cost_usd(self.usage),
            first_byte_ms=timing.first_byte_ms,
            latency_ms=timing.latency_ms,
            logprobs=tuple(self._logprobs) if self._logprobs_known else (),
            quota_left=self.quota_left,
            tool_calls=tuple(
                {
                    "id": known.get("id", ""),
                    "type": "function",
                    "function": {"name": known.get("name", ""), "arguments": "".join(written)},
                }
                for known, written in self._calls.values()
            ),
        )

    def _counted(self, error: ModelError) -> ModelError:
        if self.usage != NO_USAGE:
            error.usage = self.usage
        return error


def usage(
    input_tokens: Any,
    output_tokens: Any,
    thinking_tokens: Any = 0,
    cached_tokens: Any = 0,
    cache_write_tokens: Any = 0,
) -> Usage:
    """Token counts as a value; a count that a server leaves out is 0."""
    counts = (input_tokens, output_tokens, thinking_tokens, cached_tokens, cache_write_tokens)
    return Usage(*map(count_of, counts))


def token_logprob(chosen: Any, alternatives: Any, key: str = "logprob") -> TokenLogprob:
    """A token with its alternatives, whose log probabilities have the name `key`.

    Raises what `MISSHAPEN` lists for anything else.
    """
    top = tuple(_weighed(token, key) for token in alternatives or ())
    return TokenLogprob(*_weighed(chosen, key), top)


def _weighed(token: Any, key: str) -> tuple[str, float]:
    text, logprob = token["token"], float(token[key])
    if not isinstance(text, str) or not logprob < 1:
        raise ValueError("not a token with its log probability")
    return text, logprob
