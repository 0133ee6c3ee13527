"""What the accumulators make of the answers that real servers send, whatever their shape."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.completion import Finish, Usage
from assay.domain.errors import ContentFiltered, ModelError, StreamBroken
from assay.domain.models import Model
from assay.providers.anthropic import AnthropicStream
from assay.providers.finish_words import FINISHES
from assay.providers.gemini import GeminiStream
from assay.providers.openai import OpenAIStream
from assay.providers.stream_accumulator import StreamAccumulator, Timing

MODEL = Model(id="acme/judge", provider="acme", name="judge", input_usd_per_mtok=1.0)
TIMING = Timing(1.0, 2.0)
STREAMS: list[type[StreamAccumulator]] = [OpenAIStream, AnthropicStream, GeminiStream]


def openai_answer(message: dict[str, Any], finish: Any = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish} | more.pop("choice", {})
    return {"choices": [choice], **more}


def openai(message: dict[str, Any], finish: Any = "stop", **more: Any) -> OpenAIStream:
    accumulator = OpenAIStream(MODEL)
    accumulator.read_answer(openai_answer(message, finish, **more))
    return accumulator


def ended(dialect: str, word: Any) -> StreamAccumulator:
    """An answer of 3 and 2 tokens that ends with a word of the provider."""
    if dialect == "anthropic":
        accumulator: StreamAccumulator = AnthropicStream(MODEL)
        counts = {"input_tokens": 3, "output_tokens": 2}
        content = [{"type": "text", "text": "yes"}]
        accumulator.read_answer({"content": content, "stop_reason": word, "usage": counts})
    elif dialect == "gemini":
        accumulator = GeminiStream(MODEL)
        candidate = {"content": {"parts": [{"text": "yes"}]}, "finishReason": word}
        counts = {"promptTokenCount": 3, "candidatesTokenCount": 2}
        accumulator.read_answer({"candidates": [candidate], "usageMetadata": counts})
    else:
        counts = {"prompt_tokens": 3, "completion_tokens": 2}
        accumulator = openai({"content": "yes"}, word, usage=counts)
    return accumulator


@pytest.mark.parametrize(
    ("dialect", "word", "expected"),
    [
        ("openai", "stop", "stop"),
        ("openai", "tool_calls", "stop"),
        ("openai", "function_call", "stop"),
        ("openai", "eos", "stop"),  # Together
        ("openai", "eos_token", "stop"),  # TGI
        ("openai", "stop_sequence", "stop"),  # TGI
        ("openai", "end_turn", "stop"),  # gateways to Anthropic
        ("openai", "tool-calls", "stop"),  # gateways that write hyphens
        ("openai", "COMPLETE", "stop"),  # Cohere
        ("openai", "normal", "stop"),  # Qianfan
        ("openai", "length", "length"),
        ("openai", "max_tokens", "length"),
        ("openai", "model_length", "length"),  # Mistral
        ("openai", "MAX_TOKENS", "length"),  # gateways to Gemini, Cohere
        ("openai", "model_context_window_exceeded", "length"),  # GLM
        ("anthropic", "end_turn", "stop"),
        ("anthropic", "stop_sequence", "stop"),
        ("anthropic", "tool_use", "stop"),
        ("anthropic", "max_tokens", "length"),
        ("anthropic", "model_context_window_exceeded", "length"),
        ("anthropic", "refusal", "refusal"),
        ("gemini", "STOP", "stop"),
        ("gemini", "MAX_TOKENS", "length"),
        ("gemini", "OTHER", "refusal"),
        ("gemini", "LANGUAGE", "refusal"),
    ],
)
def test_known_endings(dialect: str, word: str, expected: Finish) -> None:
    """Every provider's words for a complete and for a cut answer are known."""
    completion = ended(dialect, word).completion(TIMING)
    assert (completion.finish, completion.text) == (expected, "yes")


@pytest.mark.parametrize(
    ("dialect", "word"),
    [
        ("openai", "content_filter"),
        ("openai", "SAFETY"),  # gateways to Gemini
        ("openai", "guardrail_intervened"),  # Bedrock
        ("openai", "ERROR_TOXIC"),  # Cohere
        ("anthropic", "content_filtered"),  # Bedrock
        ("gemini", "RECITATION"),
        ("gemini", "BLOCKLIST"),
        ("gemini", "PROHIBITED_CONTENT"),
        ("gemini", "SPII"),
        ("gemini", "MODEL_ARMOR"),
    ],
)
def test_filtered_answers_are_no_answers(dialect: str, word: str) -> None:
    """What a filter withheld goes to the next model, and its tokens are on record."""
    with pytest.raises(ContentFiltered) as caught:
        ended(dialect, word).completion(TIMING)
    assert caught.value.next_candidate == "by_policy"
    assert caught.value.usage == Usage(3, 2)


@pytest.mark.parametrize(
    ("dialect", "word"),
    [
        ("openai", "error"),  # OpenRouter, Mistral
        ("openai", "abort"),  # vLLM, SGLang
        ("openai", "insufficient_system_resource"),  # DeepSeek
        ("openai", "network_error"),  # GLM
        ("openai", "sensitive"),  # GLM
        ("openai", "load"),  # Ollama
        ("openai", "TIMEOUT"),  # Cohere
        ("openai", "a_word_of_tomorrow"),
        ("anthropic", "pause_turn"),
        ("gemini", "MALFORMED_FUNCTION_CALL"),
        ("gemini", "FINISH_REASON_UNSPECIFIED"),
    ],
)
def test_other_endings_are_failures_of_the_provider(dialect: str, word: str) -> None:
    """They go to the next model, count for the breaker, and their tokens are on record."""
    with pytest.raises(StreamBroken, match=word) as caught:
        ended(dialect, word).completion(TIMING)
    assert caught.value.next_candidate == "any"
    assert caught.value.call_result.failed == 1
    assert caught.value.usage == Usage(3, 2)


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("word", [None, "", 7, {"type": "length"}])
def test_an_answer_without_an_ending_was_cut_off(dialect: str, word: Any) -> None:
    """Only a word is an ending."""
    with pytest.raises(StreamBroken, match="cut off"):
        ended(dialect, word).completion(TIMING)


def test_words_are_kept_in_lower_case() -> None:
    """The table is searched without regard to case."""
    assert all(word == word.casefold() for word in FINISHES)


THOUGHT = [{"type": "text", "text": "Let me think."}]


@pytest.mark.parametrize(
    ("message", "text", "finish"),
    [
        (
            {"content": [{"type": "text", "text": "ye"}, {"type": "text", "text": "s"}]},
            "yes",
            "stop",
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": THOUGHT},
                    {"type": "text", "text": "yes"},
                ]
            },
            "yes",
            "stop",
        ),
        ({"content": [{"type": "reasoning", "text": "hm"}, {"text": "yes"}]}, "yes", "stop"),
        ({"content": [{"type": "output_text", "text": "yes"}, None, 7]}, "yes", "stop"),
        ({"content": ["y", "es"]}, "yes", "stop"),
        ({"content": {"type": "text", "text": "yes"}}, "yes", "stop"),
        ({"content": [{"type": "refusal", "refusal": "I will not."}]}, "I will not.", "refusal"),
        ({"content": "yes", "reasoning_content": "hm"}, "yes", "stop"),
        ({"content": "yes", "reasoning": "hm", "thinking": "hm"}, "yes", "stop"),
        ({"content": None, "reasoning_content": "The score is 5."}, "", "stop"),
        ({"content": 7, "refusal": {}}, "", "stop"),
        ({"content": [{"type": "text", "text": 7}], "refusal": ""}, "", "stop"),
    ],
)
def test_content_of_every_shape(message: dict[str, Any], text: str, finish: Finish) -> None:
    """Text parts are joined, a refusal is a refusal, and reasoning is never part of the answer."""
    completion = openai(message).completion(TIMING)
    assert (completion.text, completion.finish) == (text, finish)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"prompt_tokens": "3", "completion_tokens": 2.0}, Usage(3, 2)),
        ({"prompt_tokens": -3, "completion_tokens": None}, Usage(0, 0)),
        ({"prompt_tokens": "many", "completion_tokens": [2]}, Usage(0, 0)),
        ({"prompt_tokens": 1e300, "completion_tokens": 2}, Usage(0, 2)),
        ([3, 2], Usage(0, 0)),
        ("3 + 2", Usage(0, 0)),
        (5, Usage(0, 0)),
    ],
)
def test_counts_of_another_shape_are_unknown(counts: Any, expected: Usage) -> None:
    """A server that counts strangely has answered all the same."""
    completion = openai({"content": "yes"}, usage=counts, model=["judge"]).completion(TIMING)
    assert (completion.text, completion.usage, completion.model) == ("yes", expected, "judge")


TOKEN = {"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "yes", "logprob": -0.1}]}


@pytest.mark.parametrize(
    ("logprobs", "known"),
    [
        ({"content": [TOKEN]}, 1),
        ({"content": [TOKEN | {"top_logprobs": None}]}, 1),
        ({"content": [TOKEN, {"token": "."}]}, 0),
        ({"content": [TOKEN | {"token": 7}]}, 0),
        ({"content": [TOKEN | {"logprob": None}]}, 0),
        ({"content": [TOKEN | {"logprob": "nan"}]}, 0),
        ({"content": [TOKEN | {"logprob": 710.0}]}, 0),
        ({"content": [TOKEN | {"top_logprobs": {"yes": -0.1}}]}, 0),
        ({"content": {"yes": -0.1}}, 0),
        ({"tokens": ["yes"], "token_logprobs": [-0.1]}, 0),
        ([-0.1], 0),
        ("none", 0),
    ],
)
def test_log_probabilities_of_another_shape_are_unknown(logprobs: Any, known: int) -> None:
    """One gap, and there are none: the others would belong to another place."""
    completion = openai({"content": "yes"}, choice={"logprobs": logprobs}).completion(TIMING)
    assert (completion.text, len(completion.logprobs)) == ("yes", known)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "text", "text": "yes"}, "yes"),
        ({"type": "text", "text": None}, ""),
        ({"type": "text"}, ""),
        ({"type": "thinking", "thinking": "hm", "signature": "x"}, ""),
        ({"type": "tool_use", "input": {"score": 3}}, '{"score":3}'),
        ({"type": "tool_use", "input": None}, ""),
        ({"type": "tool_use", "input": ["score", 3]}, ""),
        ({"type": "tool_use"}, ""),
        ({}, ""),
        ("yes", ""),
        (None, ""),
    ],
)
def test_blocks_of_anthropic(block: Any, text: str) -> None:
    """A block of another shape is none, streamed or not."""
    whole, stream = AnthropicStream(MODEL), AnthropicStream(MODEL)
    whole.read_answer({"content": [block], "stop_reason": "end_turn", "usage": "none"})
    stream.read_event({"type": "message_start", "message": None})
    stream.read_event({"type": "content_block_start", "content_block": block})
    stream.read_event({"type": "content_block_delta", "delta": {"type": "text_delta"}})
    stream.read_event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    assert [answer.completion(TIMING).text for answer in (whole, stream)] == [text, text]


@pytest.mark.parametrize(
    "parts",
    [
        [{"text": "Let me think.", "thought": True}, {"text": "yes"}],
        [{"text": None}, {"text": "yes"}, {"functionCall": {}}],
        [None, {"text": "yes"}, "no"],
    ],
)
def test_parts_of_gemini(parts: Any) -> None:
    """Thoughts and parts of another shape are not the answer."""
    accumulator = GeminiStream(MODEL)
    candidate = {"content": {"parts": parts}, "finishReason": "STOP", "logprobsResult": {"x": 1}}
    accumulator.read_answer({"candidates": [candidate], "usageMetadata": [], "promptFeedback": []})
    completion = accumulator.completion(TIMING)
    assert (completion.text, completion.logprobs) == ("yes", ())


NAMES = [
    "choices",
    "delta",
    "message",
    "content",
    "type",
    "text",
    "refusal",
    "finish_reason",
    "logprobs",
    "usage",
    "model",
    "token",
    "logprob",
    "top_logprobs",
    "prompt_tokens",
    "stop_reason",
    "content_block",
    "input",
    "partial_json",
    "output_tokens",
    "candidates",
    "parts",
    "thought",
    "finishReason",
    "usageMetadata",
    "promptFeedback",
    "blockReason",
    "logprobsResult",
    "chosenCandidates",
    "modelVersion",
    "candidatesTokenCount",
]
WORDS = [
    *FINISHES,
    "message_start",
    "message_delta",
    "content_block_start",
    "text_delta",
    "tool_use",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(st.sampled_from(STREAMS), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8))
def test_any_object_is_read(stream: type[StreamAccumulator], document: dict[str, Any]) -> None:
    """An object of whatever shape is an answer or a failure of the provider, never one of ours."""
    value = orjson.loads(orjson.dumps(document))
    accumulator = stream(MODEL)
    try:
        accumulator.read_event(value)
        accumulator.read_answer(value)
        completion = accumulator.completion(TIMING)
    except ModelError:
        return
    assert isinstance(completion.text, str)
    assert completion.model
