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


def token_at(completion: Completion[object], start: int) -> TokenLogprob | None:
    """The output token that holds the character at `start` of the completion's text.

    None without log-probabilities, or where the tokens do not spell the text.
    """
    if not completion.logprobs:
        return None
    # Counted from the end: the tokens of a model that thinks may begin before its answer.
    place = "".join(token.token for token in completion.logprobs).rfind(completion.text[start:])
    if place < 0:
        return None
    for token in completion.logprobs:
        if place < len(token.token):
            return token
        place -= len(token.token)
    return None


def token_probability(token: TokenLogprob | None, verdict: object) -> float | None:
    """The probability of a verdict's token; None where it is unknown, or not the whole verdict."""
    if token is None or token.token.strip(_AROUND).casefold() != str(verdict).casefold():
        return None
    return math.exp(min(token.logprob, 0.0))


def verdict_masses(
    token: TokenLogprob | None, meaning: Callable[[str], Meaning | None]
) -> dict[Meaning, float]:
    """The probability of each verdict at a verdict's token; empty where none has any.

    `meaning` is the verdict that a word stands for, None where it is none. The masses add up to
    at most 1; what is missing went to tokens that are no verdict, or were not among the top.
    """
    if token is None:
        return {}
    weighed = dict(token.top)
    weighed.setdefault(token.token, token.logprob)
    masses: dict[Meaning, float] = {}
    for text, logprob in weighed.items():
        verdict = meaning(text.strip(_AROUND))
        if verdict is not None:
            masses[verdict] = masses.get(verdict, 0.0) + math.exp(min(logprob, 0.0))
    return masses if sum(masses.values()) > 0 else {}


def left_over(masses: dict[Meaning, float]) -> float:
    """The probability that no verdict has, 0 to 1."""
    return min(1.0, max(0.0, 1.0 - sum(masses.values())))
