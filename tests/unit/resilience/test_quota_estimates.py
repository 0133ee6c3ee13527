"""Estimates of tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.domain.completion import AnswerSchema, Prompt, SharedPrefix, Usage
from assay.domain.sampling import Sampling
from assay.resilience.token_estimates import KINDS_MAX, TokenEstimates
from fakes.models import ask


def prompt(text: str, kind: str = "verdict", output_max: int = 2_048) -> Prompt:
    sampling = Sampling(max_output_tokens=output_max)
    return ask(text, sampling=sampling, answer=AnswerSchema(kind, {}))


def test_input_is_a_quarter_of_its_bytes_at_first():
    """Before anything is known of the model."""
    estimates = TokenEstimates()
    assert estimates.input_tokens(prompt("x" * 4_000)) == 1_000
    assert estimates.input_tokens(prompt("é" * 2_000)) == 1_000


def test_a_long_text_that_is_not_ascii_is_told_from_a_sample():
    """A megabyte is never encoded to be counted."""
    estimates = TokenEstimates()
    assert estimates.input_tokens(prompt("日本" * 500_000)) == pytest.approx(750_000)


def test_lone_surrogates_do_not_break_the_estimate():
    """Callers' text may hold what UTF-8 cannot."""
    assert TokenEstimates().input_tokens(prompt("\ud800" * 8)) > 0


def test_the_ratio_follows_what_the_provider_counts():
    """A tokeniser that makes half as many tokens halves the estimate in time."""
    estimates = TokenEstimates()
    asked = prompt("x" * 4_000)
    for _ in range(60):
        estimates.learn(asked, Usage(500, 10))
    assert estimates.input_tokens(asked) == pytest.approx(500, rel=0.02)


def test_output_is_the_maximum_until_its_kind_is_known():
    """Then what is usual, with room above it; another kind is not touched by it."""
    estimates = TokenEstimates()
    assert estimates.output_tokens(prompt("x")) == 2_048
    for tokens in [140, 160] * 20:
        estimates.learn(prompt("x"), Usage(10, tokens))
    assert 160 <= estimates.output_tokens(prompt("x")) <= 250
    assert estimates.output_tokens(prompt("x", kind="steps")) == 2_048


def test_a_kind_that_exceeds_the_maximum_keeps_to_what_is_usual():
    """A model that thinks uses more than it was asked to."""
    estimates = TokenEstimates()
    estimates.learn(prompt("x", output_max=100), Usage(10, 900))
    assert estimates.output_tokens(prompt("x", output_max=100)) == 900


def test_the_kinds_are_bounded():
    """Names of schemas come from callers."""
    estimates = TokenEstimates()
    for number in range(KINDS_MAX + 50):
        estimates.learn(prompt("x", kind=str(number)), Usage(10, 10))
    assert len(estimates._outputs) == KINDS_MAX


def test_the_upper_bound_for_a_price_counts_on_a_cache_to_be_written():
    """Which some providers charge more for than for reading; other prompts write none."""
    shared = replace(prompt("x" * 4_000), shared=SharedPrefix("key", None))
    assert TokenEstimates().most(shared).cache_write_tokens == 1_000
    assert TokenEstimates().most(prompt("x" * 4_000)).cache_write_tokens == 0


def test_the_upper_bound_for_a_price_is_never_below_the_maximum():
    """However short the usual verdict is."""
    estimates = TokenEstimates()
    for _ in range(50):
        estimates.learn(prompt("x"), Usage(10, 20))
    assert estimates.most(prompt("x")).output_tokens == 2_048
