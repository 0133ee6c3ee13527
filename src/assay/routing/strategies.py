"""The order in which a judge's candidates are asked."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from assay.domain.completion import Prompt, Usage
from assay.domain.evaluation import Strategy
from assay.domain.tokens import prompt_tokens
from assay.routing.candidates import Candidate

CandidateOrder = Callable[[Sequence[Candidate], Prompt[Any]], list[Candidate]]


def ordered(candidates: Sequence[Candidate], _: Prompt[Any]) -> list[Candidate]:
    """As configured, even if a candidate must wait."""
    return list(candidates)


def cheapest(candidates: Sequence[Candidate], prompt: Prompt[Any]) -> list[Candidate]:
    """By price times estimated tokens; those that would answer at once come first.

    A model without a price counts as the most expensive: its cost may be anything.
    """
    input_tokens = prompt_tokens(prompt)

    def price(candidate: Candidate) -> tuple[bool, float]:
        model = candidate.model
        usage = Usage(input_tokens, prompt.sampling.for_model(model).max_output_tokens)
        priced = model.input_usd_per_mtok is not None
        return _must_wait(candidate), model.cost_usd(usage) if priced else math.inf

    return sorted(candidates, key=price)


def fastest(candidates: Sequence[Candidate], _: Prompt[Any]) -> list[Candidate]:
    """By the moving median of latency; one that was never measured is tried first."""

    def speed(candidate: Candidate) -> tuple[bool, float]:
        return _must_wait(candidate), candidate.latency.median or 0.0

    return sorted(candidates, key=speed)


def weighted(candidates: Sequence[Candidate], _: Prompt[Any]) -> list[Candidate]:
    """A random order in which each place is drawn by weight among those left.

    Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006.
    """

    def draw(candidate: Candidate) -> tuple[bool, float]:
        drawn = random.random()  # noqa: S311 — spreads load, guards nothing
        return _must_wait(candidate), -math.log(drawn or 1e-12) / max(candidate.weight, 1e-9)

    return sorted(candidates, key=draw)


def _must_wait(candidate: Candidate) -> bool:
    return candidate.ready_in_s() > 0


ORDERS: Mapping[Strategy, CandidateOrder] = {
    "ordered": ordered,
    "cheapest": cheapest,
    "fastest": fastest,
    "weighted": weighted,
    "panel": ordered,  # the engine asks each member of a panel by itself
}
