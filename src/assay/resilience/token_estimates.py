"""How many tokens a call will take, told from its size and from what was usual before."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from assay.domain.completion import Prompt, Turn, Usage

BYTES_PER_TOKEN = 4
SAMPLE_CHARS = 4_096
KINDS_MAX = 256
KNOWN_AFTER = 10
"""Answers of one kind that are seen before what is usual replaces the configured maximum."""
WEIGHT = 0.1
"""Of the newest value in each moving average."""
RATIO_MIN, RATIO_MAX = 0.1, 4.0
DEVIATIONS = 2.0


@dataclass(slots=True)
class _Usual:
    """Moving average and moving absolute deviation of a kind's output tokens."""

    mean: float
    deviation: float = 0.0
    seen: int = 1

    def learn(self, tokens: float) -> None:
        self.deviation += WEIGHT * (abs(tokens - self.mean) - self.deviation)
        self.mean += WEIGHT * (tokens - self.mean)
        self.seen += 1


class TokenEstimates:
    """One model's estimates: bytes ÷ 4 × the moving ratio of actual to estimated.

    Output is the prompt's configured maximum until the kind of question (the name of its answer's
    schema) is known; then its usual output with two deviations on top, though a kind that has
    been seen to exceed the maximum (a model that thinks) keeps to what is usual.
    """

    def __init__(self) -> None:
        self._ratio = 1.0
        self._outputs: OrderedDict[str, _Usual] = OrderedDict()

    def input_tokens(self, prompt: Prompt[Any]) -> float:
        return _size_bytes(prompt.turns) / BYTES_PER_TOKEN * self._ratio

    def output_tokens(self, prompt: Prompt[Any]) -> float:
        usual = self._outputs.get(_kind(prompt))
        if usual is None or usual.seen < KNOWN_AFTER:
            return float(max(prompt.sampling.max_output_tokens, usual.mean if usual else 0))
        return usual.mean + DEVIATIONS * usual.deviation

    def tokens(self, prompt: Prompt[Any]) -> float:
        return self.input_tokens(prompt) + self.output_tokens(prompt)

    def most(self, prompt: Prompt[Any]) -> Usage:
        """What a call can take at most, as an upper bound for its price."""
        output = max(self.output_tokens(prompt), prompt.sampling.max_output_tokens)
        return Usage(round(self.input_tokens(prompt)), round(output))

    def learn(self, prompt: Prompt[Any], usage: Usage) -> None:
        """Take in what a call really used."""
        plain = _size_bytes(prompt.turns) / BYTES_PER_TOKEN
        if usage.input_tokens > 0 and plain > 0:
            ratio = min(RATIO_MAX, max(RATIO_MIN, usage.input_tokens / plain))
            self._ratio += WEIGHT * (ratio - self._ratio)
        if usage.output_tokens > 0:
            kind = _kind(prompt)
            if kind in self._outputs:
                self._outputs[kind].learn(usage.output_tokens)
            else:
                self._outputs[kind] = _Usual(usage.output_tokens)
            self._outputs.move_to_end(kind)
            if len(self._outputs) > KINDS_MAX:
                self._outputs.popitem(last=False)


def _kind(prompt: Prompt[Any]) -> str:
    return prompt.answer.name if prompt.answer else ""


def _size_bytes(turns: tuple[Turn, ...]) -> float:
    return sum(_bytes_of(part) for turn in turns for part in turn.parts)


def _bytes_of(text: str) -> float:
    """UTF-8 length; of a long text that is not ASCII, by a sample from its middle."""
    if text.isascii():
        return len(text)
    if len(text) <= SAMPLE_CHARS:
        return len(text.encode(errors="replace"))
    middle = (len(text) - SAMPLE_CHARS) // 2
    sample = text[middle : middle + SAMPLE_CHARS].encode(errors="replace")
    return len(text) * len(sample) / SAMPLE_CHARS
