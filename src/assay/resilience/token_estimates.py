"""How many tokens a call will take, estimated from its size and from earlier calls."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from assay.domain.completion import Prompt, Usage
from assay.domain.moving_average import MovingAverage
from assay.domain.tokens import prompt_tokens

KINDS_MAX = 256
KNOWN_AFTER = 10
"""Answers of one kind that are seen before their usual length replaces the configured maximum."""
WEIGHT = 0.1
"""Of the newest value in each moving average."""
RATIO_MIN, RATIO_MAX = 0.1, 4.0
DEVIATIONS = 2.0


class _UsualOutput:
    """Moving average and moving absolute deviation of a kind's output tokens."""

    def __init__(self) -> None:
        self.mean = MovingAverage(WEIGHT)
        self.deviation = MovingAverage(WEIGHT, 0.0)
        self.seen = 0

    def learn(self, tokens: float) -> None:
        if self.seen:
            self.deviation.add(abs(tokens - self.mean.value))
        self.mean.add(tokens)
        self.seen += 1


class TokenEstimates:
    """One model's estimates: the general one, times the moving ratio of actual to estimated.

    Output is the prompt's configured maximum until the kind of question (the name of its answer's
    schema) is known. Then it is the kind's usual output and two deviations; a kind that exceeds
    the maximum, as that of a model that thinks may, is estimated by its usual output too.
    """

    def __init__(self) -> None:
        self._ratio = MovingAverage(WEIGHT, 1.0)
        self._outputs: OrderedDict[str, _UsualOutput] = OrderedDict()

    def input_tokens(self, prompt: Prompt[Any]) -> float:
        return prompt_tokens(prompt) * self._ratio.value

    def output_tokens(self, prompt: Prompt[Any]) -> float:
        usual = self._outputs.get(_kind(prompt))
        if usual is None or usual.seen < KNOWN_AFTER:
            return float(max(prompt.sampling.max_output_tokens, usual.mean.value if usual else 0))
        return usual.mean.value + DEVIATIONS * usual.deviation.value

    def tokens(self, prompt: Prompt[Any]) -> float:
        return self.input_tokens(prompt) + self.output_tokens(prompt)

    def usual(self, prompt: Prompt[Any]) -> Usage:
        """What a call is expected to take."""
        return Usage(round(self.input_tokens(prompt)), round(self.output_tokens(prompt)))

    def most(self, prompt: Prompt[Any]) -> Usage:
        """What a call can take at most, as an upper bound for its price."""
        output = max(self.output_tokens(prompt), prompt.sampling.max_output_tokens)
        input_ = round(self.input_tokens(prompt))
        return Usage(input_, round(output), cache_write_tokens=input_ if prompt.shared else 0)

    def learn(self, prompt: Prompt[Any], usage: Usage) -> None:
        """Take in what a call really used."""
        estimated = prompt_tokens(prompt)
        if usage.input_tokens > 0 and estimated > 0:
            self._ratio.add(min(RATIO_MAX, max(RATIO_MIN, usage.input_tokens / estimated)))
        if usage.output_tokens > 0:
            kind = _kind(prompt)
            self._outputs.setdefault(kind, _UsualOutput()).learn(usage.output_tokens)
            self._outputs.move_to_end(kind)
            if len(self._outputs) > KINDS_MAX:
                self._outputs.popitem(last=False)


def _kind(prompt: Prompt[Any]) -> str:
    return prompt.answer.name if prompt.answer else ""
