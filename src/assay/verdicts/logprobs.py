"""What a judge weighed beside its verdict: the probabilities of the tokens at its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TypeVar

from assay.domain.completion import Completion, TokenLogprob

TOP_LOGPROBS = 20
"""The most that providers give; the more there are, the less probability is left over."""

_AROUND = " \n\t*_`\"'.,:[](){}"
"""What a tokeniser may leave around a verdict in one token with it."""

Meaning = TypeVar("Meaning", bound=Hashable)


def verdict_masses(
    completion: Completion[object], meaning: Callable[[str], Meaning | None]
) -> dict[Meaning, float]:
    """The probability of each verdict at the place of the last one; empty without logprobs.

    `meaning` is the verdict that a token stands for, None where it is none. The masses add up to
    at most 1; what is missing went to tokens that are no verdict, or were not among the top.
    """
    for token in reversed(completion.logprobs):
        if meaning(bare(token.token)) is not None:
            return _masses(token, meaning)
    return {}


def bare(token: str) -> str:
    """The token without what stands around its word."""
    return token.strip(_AROUND)


def _masses(token: TokenLogprob, meaning: Callable[[str], Meaning | None]) -> dict[Meaning, float]:
    weighed = dict(token.top)
    weighed.setdefault(token.token, token.logprob)
    masses: dict[Meaning, float] = {}
    for text, logprob in weighed.items():
        verdict = meaning(bare(text))
        if verdict is not None:
            masses[verdict] = masses.get(verdict, 0.0) + math.exp(min(logprob, 0.0))
    return masses


def left_over(masses: dict[Meaning, float]) -> float:
    """The probability that no verdict has, 0 to 1."""
    return min(1.0, max(0.0, 1.0 - sum(masses.values())))
