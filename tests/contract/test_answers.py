"""What each provider answers reaches the caller whole, with its tokens, cost and times."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import jsonschema_rs
import pytest

from assay.domain.completion import Usage
from assay.domain.errors import DeadlineExceeded, ModelError, RateLimited
from assay.domain.models import Capabilities
from assay.domain.sampling import Sampling
from fakes.providers.clouds import CLOUD_MODELS
from fakes.providers.dialects import CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, THOUGHT_TOKENS
from fakes.providers.faults import Fault
from fakes.providers.play import TEXT
from fakes.providers.subject import PROMPT, SCHEMA, SHORT_SILENCE_S, STRUCTURED, Subject


def usage_of(subject: Subject) -> Usage:
    """Bedrock does not count thinking apart, and here it writes a cache."""
    thoughts = 0 if subject.family == "bedrock" else THOUGHT_TOKENS
    written = 5 if subject.family == "bedrock" else 0
    return Usage(INPUT_TOKENS, OUTPUT_TOKENS, thoughts, CACHED_TOKENS, written)


async def test_answer_carries_text_usage_cost_and_times(subject: Subject) -> None:
    """A plain answer arrives exactly, priced by the provider's own count of tokens."""
    completion = await subject.ask()
    assert completion.text == TEXT
    assert completion.finish == "stop"
    assert completion.usage == usage_of(subject)
    assert completion.cost_usd == pytest.approx((INPUT_TOKENS + 10 * OUTPUT_TOKENS) / 1e6)
    assert completion.provider == subject.dialect
    # Bedrock does not say which model served.
    assert completion.model == (
        CLOUD_MODELS["bedrock"] if subject.dialect == "bedrock" else "served-1"
    )
    assert 0 < completion.first_byte_ms <= completion.latency_ms
    assert not completion.simulated


async def test_structured_answer_is_json_of_the_schema(subject: Subject) -> None:
    """However a provider takes the schema, the completion's text is JSON that it allows."""
    completion = await subject.ask(STRUCTURED)
    jsonschema_rs.validate(SCHEMA, json.loads(completion.text))


@pytest.mark.parametrize("fault", ["split", "drip"])
async def test_chunks_do_not_matter(subject: Subject, fault: str) -> None:
    """An answer is the same when its bytes come in shreds, or slower than the silence in all."""
    if subject.stream:
        subject.silence_s = SHORT_SILENCE_S
    await subject.server.play(fault)
    completion = await subject.ask()
    assert completion.text == TEXT
    assert completion.usage == usage_of(subject)


async def test_whole_answer_must_come_within_one_silence(subject: Subject) -> None:
    """Without streaming the silence timeout bounds the whole answer, dripping or not."""
    await subject.server.play("drip")
    subject.silence_s = SHORT_SILENCE_S
    if subject.stream:
        assert (await subject.ask()).latency_ms > subject.silence_s * 1_000
        return
    with pytest.raises(ModelError, match="silent") as caught:
        await subject.ask()
    assert caught.value.outcome == "provider_silent"


async def test_cut_at_the_limit_is_said(subject: Subject) -> None:
    """An answer cut at the output limit says so and keeps its usage."""
    await subject.server.play("length")
    completion = await subject.ask(STRUCTURED)
    assert completion.finish == "length"
    assert completion.usage.output_tokens == OUTPUT_TOKENS


async def test_refusal_is_said(subject: Subject) -> None:
    """A model that declines gives a refusal, not a verdict."""
    await subject.server.play("refusal")
    completion = await subject.ask(STRUCTURED)
    assert completion.finish == "refusal"


async def test_usage_left_out_is_zero(subject: Subject) -> None:
    """Where a server counts no tokens, none are invented."""
    subject.server.usage = False
    completion = await subject.ask()
    expected = Usage(0, 0) if subject.family.startswith("openai") else usage_of(subject)
    assert completion.usage == expected


async def test_logprobs_come_where_the_model_gives_them(subject: Subject) -> None:
    """Log probabilities are asked for and read only where the model is able to give them."""
    prompt = replace(PROMPT, sampling=Sampling(top_logprobs=5))
    able = await subject.ask(prompt, capabilities=Capabilities(logprobs=True))
    unable = await subject.ask(prompt)
    assert unable.logprobs == ()
    if subject.family in ("anthropic", "bedrock"):
        assert able.logprobs == ()
        return
    assert able.logprobs[0].logprob == -0.1
    assert able.logprobs[0].top == ((able.logprobs[0].token, -0.1),)


async def test_deadline_bounds_the_call(subject: Subject) -> None:
    """A deadline nearer than the silence timeout ends the call as what it is."""
    await subject.server.play("silent")
    with pytest.raises(DeadlineExceeded):
        await subject.ask(deadline_s=0.1)


async def test_nothing_is_sent_after_the_deadline(subject: Subject) -> None:
    """A call that comes too late costs nothing."""
    with pytest.raises(DeadlineExceeded):
        await subject.ask(deadline_s=-1)
    assert subject.server.count == 0


async def test_retry_info_is_read(subject: Subject) -> None:
    """Google says in the error's details how long to wait."""
    await subject.server.play(Fault(status=429, problem="429"))
    subject.server.problem = "retry_info"
    with pytest.raises(RateLimited) as caught:
        await subject.ask()
    assert caught.value.retry_after_s == (34.5 if subject.family == "gemini" else None)


async def test_exhausted_credit_is_not_a_rate_limit(subject: Subject) -> None:
    """OpenAI answers 429 where the account has no money: waiting would not help."""
    await subject.server.play(Fault(status=429, problem="429"))
    subject.server.problem = "insufficient_quota"
    with pytest.raises(ModelError) as caught:
        await subject.ask()
    is_openai = subject.family.startswith("openai")
    assert caught.value.outcome == ("key_rejected" if is_openai else "rate_limited")


async def test_one_fault_in_three_leaves_two_answers(subject: Subject) -> None:
    """A provider that fails now and then serves the other calls over the same pool."""
    await subject.server.play("503", every=3)
    client, outcomes = subject.client(), []
    for _ in range(6):
        try:
            outcomes.append((await subject.ask(client=client)).finish)
        except ModelError as error:
            outcomes.append(error.outcome)
    assert outcomes == ["stop", "stop", "server_error"] * 2


OPENAI_SAID = {"x-ratelimit-remaining-requests": "7", "x-ratelimit-remaining-tokens": "41000"}
SAID = {
    "openai": OPENAI_SAID,
    "openai_responses": OPENAI_SAID,
    "anthropic": {
        "anthropic-ratelimit-requests-remaining": "7",
        "anthropic-ratelimit-tokens-remaining": "41000",
        "anthropic-ratelimit-output-tokens-remaining": "900",
    },
    "gemini": {},
    "bedrock": {},
}


async def test_what_is_left_by_the_provider_comes_with_the_answer(subject: Subject) -> None:
    """The quota learns from it; a provider that says nothing leaves it open."""
    subject.server.headers = SAID[subject.family] | {"x-ratelimit-reset-requests": "1s"}
    expected = {"requests": 7.0, "tokens": 41_000.0} if SAID[subject.family] else {}
    assert (await subject.ask()).quota_left == expected


async def test_token_counts_by_kind_stand_in_for_the_sum(subject: Subject) -> None:
    """Anthropic may name input and output alone: the smaller one binds."""
    subject.server.headers = {
        "anthropic-ratelimit-input-tokens-remaining": "5000",
        "anthropic-ratelimit-output-tokens-remaining": "900",
    }
    assert (await subject.ask()).quota_left == {"tokens": 900.0}


@pytest.mark.parametrize("left", ["", "many", "nan", "inf", "1e999"])
async def test_what_is_no_count_is_passed_over(subject: Subject, left: str) -> None:
    """A gateway's strange header neither fails the answer nor empties the bucket."""
    subject.server.headers = {"x-ratelimit-remaining-requests": left}
    assert (await subject.ask()).quota_left == {}


async def test_a_deadline_tells_how_long_the_provider_was_silent(subject: Subject) -> None:
    """From the sending of the request, so that short deadlines can prove a provider slow."""
    subject.server.latency_s = 30
    started_s = time.perf_counter()
    with pytest.raises(DeadlineExceeded) as caught:
        await subject.ask(deadline_s=0.4)
    assert 0 < caught.value.idle_s <= time.perf_counter() - started_s
