"""The errors of real providers, in their own words, and what they mean."""

from __future__ import annotations

from typing import Any

import pytest

from assay.domain.errors import (
    ContentFiltered,
    ContextExceeded,
    KeyRejected,
    ModelError,
    ModelMissing,
    RateLimited,
    RequestRejected,
    ServerError,
    StreamBroken,
)
from assay.providers.anthropic import AnthropicStream
from assay.providers.failures import (
    Dialect,
    ProviderError,
    embedded_error,
    failure,
    safe_text,
)
from assay.providers.gemini import GeminiStream
from assay.providers.openai import OpenAIStream

OPENAI, ANTHROPIC, GEMINI = OpenAIStream.dialect, AnthropicStream.dialect, GeminiStream.dialect


def error(status: int | None, body: Any, dialect: Dialect = OPENAI) -> ModelError:
    return failure("acme", dialect, ProviderError.read(status, body, {}))


def typed(message: str, type_: str = "invalid_request_error", code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def vllm(message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequestError", "code": 400}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # OpenAI
        (400, typed("Please use another prompt.", code="context_length_exceeded")),
        (400, typed("Your input exceeds the context window of this model.")),
        (400, typed("Invalid 'messages[1].content'.", code="string_above_max_length")),
        (400, typed("Input tokens exceed the configured limit of 272000 tokens.")),
        # Groq
        (400, typed("Please reduce the length of the messages or completion.")),
        # xAI
        (
            400,
            {
                "code": "invalid-argument",
                "error": "This model's maximum prompt length is 131072 but the request contains "
                "537812 tokens.",
            },
        ),
        # llama.cpp
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "the prompt does not fit",
                    "type": "exceed_context_size_error",
                    "n_prompt_tokens": 9000,
                    "n_ctx": 4096,
                }
            },
        ),
        (400, typed("the request exceeds the available context size, try increasing it")),
        (
            None,
            {
                "error": {
                    "code": 400,
                    "message": "request (9000 tokens) exceeds the available context size "
                    "(4096 tokens), try increasing it",
                    "type": "invalid_request_error",
                }
            },
        ),
        # Bedrock
        (400, {"message": "Input is too long for requested model."}),
        # TGI and Together
        (
            422,
            {
                "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
                "4096. Given: 4000 `inputs` tokens and 500 `max_new_tokens`",
                "error_type": "validation",
            },
        ),
        (
            422,
            {
                "error": "Input validation error: `inputs` must have less than 4095 tokens. "
                "Given: 9000",
                "error_type": "validation",
            },
        ),
        (
            None,
            {
                "error": {
                    "message": "Input validation error: `inputs` tokens + `max_new_tokens` must "
                    "be <= 8193. Given: 9000 `inputs` tokens and 1 `max_new_tokens`",
                    "http_status_code": 422,
                }
            },
        ),
        # vLLM and SGLang
        (400, vllm("This model's maximum context length is 4096 tokens. However, your request…")),
        (400, vllm("The decoder prompt (length 9) is longer than the maximum model length of 8.")),
        (400, vllm("The input (9 tokens) is longer than the model's context length (8 tokens).")),
        (400, vllm("Input length (9 tokens) exceeds the maximum allowed length (8 tokens).")),
        # Mistral
        (
            400,
            {
                "object": "error",
                "message": "Prompt contains 65673 tokens and 0 draft tokens, too large for model "
                "with 32768 maximum context length",
                "type": "invalid_request_prompt",
                "code": "3051",
            },
        ),
        # Ollama, LM Studio, Moonshot, Qwen, GLM, Cohere
        (400, typed("the prompt is longer than the context length currently available")),
        (400, {"error": "The model is loaded with context length of only 4096 tokens."}),
        (400, typed("Your request exceeded model token limit: 8192 (requested: 9000)")),
        (400, typed("Range of input length should be [1, 30720]")),
        (400, typed("Prompt exceeds max length", code="1261")),
        (400, {"message": "too many tokens: size limit exceeded by 5137 tokens."}),
        # OpenRouter, with the words of the provider behind it
        (
            400,
            {
                "error": {
                    "message": "Provider returned error",
                    "code": 400,
                    "metadata": {"raw": '{"message":"Input is too long for requested model."}'},
                }
            },
        ),
        (413, "<html><title>413 Request Entity Too Large</title></html>"),
        (400, {"detail": "This model's maximum context length is 4096 tokens."}),
        (400, "This model's maximum context length is 4096 tokens."),
    ],
)
def test_a_prompt_that_is_too_long(status: int | None, body: Any) -> None:
    """Every provider's words and codes for it are `input_too_long`."""
    caught = error(status, body)
    assert type(caught) is ContextExceeded
    assert caught.reason == "input_too_long"


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        (ANTHROPIC, "prompt is too long: 210000 tokens > 200000 maximum"),
        (ANTHROPIC, "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"),
        (ANTHROPIC, "Input is too long for requested model."),
        (GEMINI, "The input token count (2000000) exceeds the maximum number of tokens allowed."),
        (GEMINI, "The input token count is 40000 but model only supports up to 32768."),
    ],
)
def test_a_prompt_that_is_too_long_for_other_dialects(dialect: Dialect, message: str) -> None:
    """The words count in every dialect: a gateway speaks one and passes on another."""
    assert type(error(400, {"error": {"message": message}}, dialect)) is ContextExceeded


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, typed("The response was filtered due to the prompt.", code="content_filter")),
        (
            400,
            typed("The prompt triggered Azure OpenAI's content management policy.", code="400"),
        ),
        (400, typed("Input data may contain sensitive content.", code="data_inspection_failed")),
        (400, typed("Output data may contain inappropriate content.")),
        (
            403,
            {
                "error": {
                    "code": 403,
                    "message": "openai/gpt-6-luna requires moderation. Your input was flagged.",
                    "metadata": {"reasons": ["violence"], "flagged_input": "the caller's text"},
                }
            },
        ),
        (
            403,
            {
                "code": "permission-denied",
                "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
            },
        ),
    ],
)
def test_a_content_filter(status: int, body: Any) -> None:
    """A filter goes to the next model, and never puts the provider's key in quarantine."""
    caught = error(status, body)
    assert type(caught) is ContentFiltered
    assert caught.next_candidate == "by_policy"
    assert "the caller's text" not in caught.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, typed("Unsupported parameter: 'temperature'.", code="unsupported_parameter")),
        (400, typed("Unsupported value: 'logprobs' is not supported.", code="unsupported_value")),
        (400, typed("max_tokens=200000 cannot be greater than max_model_len=4096.")),
        (400, typed("This model does not support the `response_format`: `json_schema`.")),
        (
            400,
            typed("Failed to generate JSON. See 'failed_generation'.", "x", "json_validate_failed"),
        ),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["seed"], "msg": "Extra inputs"}]}),
        (405, "Method Not Allowed"),
    ],
)
def test_what_one_model_rejects_is_no_fault_of_the_criterion(status: int, body: Any) -> None:
    """A parameter, or the model's own output: the next model is asked, and no `check_error`."""
    caught = error(status, body)
    assert type(caught) is RequestRejected
    assert (caught.next_candidate, caught.reason) == ("any", "providers_unavailable")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "Model is loading."}, "Model is loading."),
        ({"detail": {"msg": "no"}}, "no"),
        (
            {"detail": [{"loc": ["body"], "msg": "bad seed", "input": "a secret"}, {"msg": "too"}]},
            "bad seed; too",
        ),
        ({"message": {"detail": [{"msg": "Extra inputs", "input": "a secret"}]}}, "Extra inputs"),
        ({"errors": ["first", "second"]}, "first; second"),
        ({"error": {"code": 7}, "message": "outside"}, "outside"),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ("upstream connect error", "upstream connect error"),
        ({"error": "plain"}, "plain"),
        ({"error": {"message": {"a secret": 1}}}, ""),
    ],
)
def test_the_message_is_found_wherever_it_is(body: Any, said: str) -> None:
    """Only sentences are shown; what a server quotes of the request is not."""
    message = error(400, body).message
    assert message == f"acme answered 400{': ' * bool(said)}{said}"


LITELLM_KEY = (
    "litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key"
)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        # LiteLLM
        (400, typed("Authentication Error, Invalid proxy server token.", "x"), KeyRejected),
        (401, typed("Authentication Error, No api key passed in.", "auth_error"), KeyRejected),
        (400, typed("Key expired.", "expired_key", "400"), KeyRejected),
        (400, typed(LITELLM_KEY, "x", "400"), KeyRejected),
        (400, typed("Budget has been exceeded! Current cost: 1.2", "budget_exceeded"), KeyRejected),
        (400, typed("/chat/completions: Invalid model name passed in model=gone."), ModelMissing),
        (400, typed("litellm.NotFoundError: OpenAIException - x", "x", "400"), ModelMissing),
        (
            400,
            typed("litellm.ContentPolicyViolationError: AzureException - x", "x", "400"),
            ContentFiltered,
        ),
        (
            400,
            typed("litellm.ContextWindowExceededError: AnthropicException - x", "x", "400"),
            ContextExceeded,
        ),
        # OpenRouter
        (401, {"error": {"message": "No auth credentials found", "code": 401}}, KeyRejected),
        (402, {"error": {"message": "Insufficient credits", "code": 402}}, KeyRejected),
        (
            400,
            {"error": {"message": "acme/gone is not a valid model ID", "code": 400}},
            ModelMissing,
        ),
        (
            404,
            {"error": {"message": "No endpoints found for acme/gone.", "code": 404}},
            ModelMissing,
        ),
        # vLLM
        (404, vllm("The model `gone` does not exist.") | {"code": 404}, ModelMissing),
        (401, {"error": "Unauthorized"}, KeyRejected),
        # Azure
        (
            401,
            typed(
                "Access denied due to invalid subscription key or wrong API endpoint.", "x", "401"
            ),
            KeyRejected,
        ),
        (404, typed("The API deployment does not exist.", "x", "DeploymentNotFound"), ModelMissing),
        (400, typed("Unknown model: gone", "x", "unknown_model"), ModelMissing),
        (409, typed("The resource is being changed.", "x", "Conflict"), RequestRejected),
    ],
)
def test_keys_and_models_in_the_words_of_gateways(
    status: int, body: Any, expected: type[ModelError]
) -> None:
    """A gateway passes on another provider's error, in its own words and often as a 400."""
    caught = error(status, body)
    assert type(caught) is expected
    assert caught.next_candidate != "none"


@pytest.mark.parametrize("phrase", ["incorrect api key", "invalid model name"])
def test_words_that_an_error_quotes_put_no_key_in_quarantine(phrase: str) -> None:
    """A server may quote the caller's text after its own words, and that text is untrusted."""
    quoting = f"Failed to parse the request body as JSON: messages[1].content: {'x' * 40} {phrase}"
    assert type(error(400, typed(quoting))) is RequestRejected


def test_what_is_logged_of_an_error_quotes_nothing() -> None:
    """Status and codes: the sentences may quote the caller's text."""
    caught = error(400, typed("Cannot parse 'the caller's text'.", code="unsupported_value"))
    assert "the caller's text" in caught.message
    assert caught.log_message == "acme answered 400 (unsupported_value, invalid_request_error)"


def test_a_rejected_key_is_not_quoted() -> None:
    """xAI answers 400 and shows a part of the key."""
    caught = error(400, {"code": "x", "error": "Incorrect API key provided: xa***Zq."})
    assert type(caught) is KeyRejected
    assert caught.message == "acme answered 400"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # OpenRouter, whole and streamed
        (
            {"choices": [{"error": {"code": 502, "message": "Down"}, "finish_reason": "error"}]},
            ServerError,
        ),
        (
            {
                "error": {"code": 429, "message": "Slow down"},
                "choices": [{"delta": {"content": ""}, "finish_reason": "error"}],
            },
            RateLimited,
        ),
        ({"choices": [{"error": {"code": "503", "message": "Down"}}]}, ServerError),
        ({"choices": [{"error": "broken"}]}, StreamBroken),
        # vLLM, SGLang, llama.cpp, Anthropic
        ({"error": typed("bad")["error"] | {"code": 400}}, RequestRejected),
        (vllm("The input is longer than the model's context length."), ContextExceeded),
        ({"error": {"code": 500, "message": "oops", "type": "server_error"}}, ServerError),
        ({"type": "error", "error": {"type": "overloaded", "message": "?"}}, StreamBroken),
        ({"error": {"code": True, "message": "?"}}, StreamBroken),
    ],
)
def test_an_error_inside_an_answer(document: dict[str, Any], expected: type[ModelError]) -> None:
    """It means what it would mean as a response with its code as the status."""
    part = embedded_error(document)
    assert part is not None
    assert type(error(None, part)) is expected


@pytest.mark.parametrize(
    "document",
    [
        {"error": None, "choices": [{"error": None, "delta": {"content": "yes"}}]},
        {"error": {}, "choices": "none"},
        {"choices": [{"content_filter_results": {"error": {"code": "content_filter_error"}}}]},
    ],
)
def test_no_error_inside_an_answer(document: dict[str, Any]) -> None:
    """Empty fields, and Azure's word that its filter did not run, are none."""
    assert embedded_error(document) is None


SECRET = "Zq7-wild-key-without-a-prefix-9fKx"


@pytest.mark.parametrize(
    "quoted",
    [
        SECRET,
        "Zq7-wild*****************9fKx",
        "Zq7-wild...9fKx",
        "****9fKx",
        "Zq7-wild-key",
        "other-key-ab…yz12",
        "'wild-key-without'",
    ],
)
def test_parts_of_a_key_are_masked(quoted: str):
    """Providers quote the first and last characters of a key; none of them is shown."""
    text = safe_text(f"Quota of key {quoted} used up, see the docs", [SECRET])
    assert text.startswith("Quota of key ")
    assert text.endswith(" used up, see the docs")
    assert not any(part in text for part in ("Zq7", "9fKx", "wild", "yz12"))


def test_a_placeholder_is_no_key():
    """Local servers take any word as a key; its parts are the words of every message."""
    assert safe_text("too many tokens", ["tokens"]) == "too many [key]"
    assert safe_text("too many tokens", ["token-abc"]) == "too many tokens"
