"""What a provider's error means: by its code, then its message, then its status.

An error has the same meaning as a response, inside an answer with status 200 and inside a stream.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from assay.domain.completion import Finish
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
from assay.domain.sampling import Parameter
from assay.providers.finish_words import FINISHES
from assay.providers.shapes import count_of, first_of, list_of, mapping_of, text_of

MESSAGE_CHARS_MAX = 200
MESSAGE_DEPTH_MAX = 4
MESSAGE_PARTS_MAX = 3
RETRY_AFTER_S_MAX = 86_400.0

_IMAGES_UNSUPPORTED = (
    "image input",  # Ollama; llama.cpp with 500, OpenRouter with 404
    "not support image",  # LM Studio
    "not a multimodal model",  # vLLM
)
_ABOUT_IMAGES = (
    "image",  # OpenAI, vLLM, DeepSeek (`unknown variant image_url`), Mistral, Gemini
    "multimodal",
    "content must be a string",  # Groq
)
"""What a rejection of the request is about, where the request has images."""

_STATUSES: Mapping[int, type[ModelError]] = {
    401: KeyRejected,
    402: KeyRejected,
    403: KeyRejected,
    404: ModelMissing,
    407: KeyRejected,  # of a proxy
    408: ServerError,
    413: ContextExceeded,
    429: RateLimited,
    501: ModelMissing,  # llama.cpp: what is asked is not what the model does
}
_SEARCHED_STATUSES = (400, 403, 413, 422, None)
"""Statuses whose message is searched; elsewhere it could only quote the caller's text."""
_TOO_LONG = (
    "context length",  # OpenAI, vLLM, SGLang, Mistral, DeepSeek, Ollama, LM Studio
    "context window",  # OpenAI, MiniMax, LiteLLM
    "context size",  # llama.cpp
    "context limit",  # Anthropic
    "prompt is too long",  # Anthropic, Fireworks
    "input is too long",  # Bedrock
    "reduce the length of the",  # Groq, Cerebras
    "maximum prompt length",  # xAI
    "maximum model length",  # vLLM
    "maximum allowed length",  # SGLang
    "`max_new_tokens` must be <=",  # TGI, Together
    "`inputs` must have less than",  # TGI
    "input token count",  # Gemini, Vertex AI
    "input tokens exceed",  # OpenAI
    "exceeds the maximum number of tokens",  # Gemini
    "exceeded model token limit",  # Moonshot
    "more than max tokens allowed",  # MiniMax
    "range of input length",  # Qwen
    "prompt exceeds max length",  # GLM
    "too many tokens",  # Cohere
    "contextwindowexceeded",  # LiteLLM
)
_FILTERED = (
    "input was flagged",  # OpenRouter, with the status of a rejected key
    "violates usage guidelines",  # xAI, likewise
    "content management policy",  # Azure
    "inappropriate content",  # Qwen
    "contentpolicyviolation",  # LiteLLM
)
_BAD_KEY = (
    "incorrect api key",  # OpenAI, and xAI with a 400
    "invalid api key",  # Groq, Mistral, Together
    "api key not valid",  # Gemini
    "api key expired",  # Gemini
    "invalid x-api-key",  # Anthropic
    "invalid subscription key",  # Azure
    "authentication error",  # LiteLLM
    "authenticationerror",  # LiteLLM, for the provider behind it
    "budget has been exceeded",  # LiteLLM
    "credit balance is too low",  # Anthropic
)
_NO_MODEL = (
    "invalid model name",  # LiteLLM
    "not a valid model id",  # OpenRouter
    "unknown model",  # Azure AI, GitHub Models
    "model not found",  # Fireworks, LM Studio
    "model does not exist",  # SiliconFlow
    "notfounderror",  # LiteLLM, for the provider behind it
)
_PHRASES: Sequence[tuple[str, type[ModelError]]] = (
    *((phrase, ContentFiltered) for phrase in _FILTERED),
    *((phrase, ContextExceeded) for phrase in _TOO_LONG),
)
"""Parts of messages, in lower case, that gateways pass on from any provider."""
_OPENINGS: Sequence[tuple[str, type[ModelError]]] = (
    *((phrase, KeyRejected) for phrase in _BAD_KEY),
    *((phrase, ModelMissing) for phrase in _NO_MODEL),
)
"""The same where the message begins: what it quotes must put no key in quarantine."""
_OPENING_CHARS = 100
_MESSAGE_KEYS = ("message", "msg", "detail", "error", "errors")
_REFUSING_STATUSES = (400, 422)
_UNSUPPORTED_CODES = ("unsupported_parameter", "unsupported_value", "unknown_parameter")
_REFUSAL_CHARS = 300
_KEY_LIKE = re.compile(
    r"(?<!\S)\S*?(?:sk-|AIza|Bearer\s)\S*|(?<![\w-])[\w-]{1,200}(?:\*{2,200}|…|\.{3})[\w-]{1,200}",
    re.IGNORECASE,
)
"""Keys by their form, and what stands for one: its first and last characters."""
_WORD = re.compile(r"[^\s\"'`,;:()]+")
KEY_CHARS_MIN = 12
"""A shorter key is a placeholder, such as `EMPTY`, whose parts are common words."""
PART_CHARS_MIN = 6
END_CHARS = 4
"""Shorter runs are found in any text; the last four are what providers quote."""
_CODE = re.compile(r"[\w.-]{1,64}", re.ASCII)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\uffff]+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one provider expresses its errors, and how its answers end.

    `codes` maps its codes, types, reasons and statuses. `finishes` maps the words of its endings,
    in lower case. `parameters` maps the names of what a request may hold, in lower case too.
    `statuses` says what those of HTTP mean that no code explains.
    """

    codes: Mapping[str, type[ModelError]]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    finishes: Mapping[str, Finish] = field(default_factory=lambda: FINISHES)
    statuses: Mapping[int, type[ModelError]] = field(default_factory=lambda: _STATUSES)


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error response in one form for all providers; `status` is None inside a stream.

    `parameter` is the field of the request that it names.
    """

    status: int | None
    codes: tuple[str, ...] = ()
    parameter: str = ""
    message: str = ""
    retry_after_s: float | None = None

    @classmethod
    def read(cls, status: int | None, body: Any, headers: Mapping[str, str]) -> ProviderError:
        """Read a `body` of any shape, plain text too; never raises."""
        body = body[0] if isinstance(body, list) and body else body
        outer = mapping_of(body)
        error = outer.get("error") or body
        fields = mapping_of(error)
        details = [mapping_of(detail) for detail in list_of(fields.get("details"))]
        named = [part.get(key) for part in (fields, outer) for key in ("code", "type", "status")]
        named += [detail.get("reason") for detail in details]
        named.append(mapping_of(outer.get("detail")).get("error_type"))  # TypeSafe
        named.append(headers.get("x-amzn-ErrorType", "").partition(":")[0] or None)
        # What a gateway was answered by the provider behind it.
        raw = text_of(mapping_of(fields.get("metadata")).get("raw"))
        wait_s = retry_after_s(headers)
        return cls(
            _status(fields) if status is None else status,
            tuple(code for code in named if isinstance(code, str)),
            _unsupported_field(fields, outer),
            " ".join(filter(None, (_message(error) or _message(outer), raw))),
            _retry_delay_s(details) if wait_s is None else wait_s,
        )


def embedded_error(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of an answer or an event that is an error, if any."""
    is_error = "error" in (document.get("object"), document.get("type"))
    if is_error and not document.get("error"):
        return document
    parts = (document, first_of(document.get("choices")), mapping_of(document.get("response")))
    return next((part for part in parts if part.get("error")), None)


def failure(
    provider: str, dialect: Dialect, error: ProviderError, secrets: Sequence[str] = ()
) -> ModelError:
    """The `ModelError` for an error, with a message without secrets and control characters."""
    kind = _kind(dialect, error)
    status = f"answered {error.status}" if error.status else "ended its stream with an error"
    message = f"{provider} {status}"
    # A rejected key may be quoted, and in parts that no mask recognises.
    detail = "" if kind is KeyRejected else safe_text(error.message, secrets)
    found = kind(f"{message}: {detail}" if detail else message, retry_after_s=error.retry_after_s)
    # The sentences may quote the caller's text; a code cannot.
    codes = ", ".join(dict.fromkeys(filter(_CODE.fullmatch, error.codes)))
    found.log_message = f"{message} ({codes})" if codes else message
    if type(found) is RequestRejected:
        found.parameter = _refused_parameter(dialect, error)
    return found


def refuses_images(error: ModelError) -> bool:
    """Whether a request with images failed because the model or its server does not take them."""
    message = error.message.lower()
    if type(error) is RequestRejected:
        return error.parameter is None and any(part in message for part in _ABOUT_IMAGES)
    unsupported = any(phrase in message for phrase in _IMAGES_UNSUPPORTED)
    return type(error) in (ModelMissing, ServerError) and unsupported


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the headers (RFC 9110, section 10.2.3, and OpenAI's `-ms`)."""
    if (milliseconds := _seconds(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1_000
    value = headers.get("Retry-After")
    if value is None or (seconds := _seconds(value)) is not None:
        return seconds if value is not None else None
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), RETRY_AFTER_S_MAX)


def _kind(dialect: Dialect, error: ProviderError) -> type[ModelError]:
    for code in error.codes:
        if code in dialect.codes:
            return dialect.codes[code]
    message = error.message.lower() if error.status in _SEARCHED_STATUSES else ""
    for text, phrases in ((message, _PHRASES), (message[:_OPENING_CHARS], _OPENINGS)):
        for phrase, kind in phrases:
            if phrase in text:
                return kind
    if error.status is None:
        return StreamBroken
    if error.status in dialect.statuses:
        return dialect.statuses[error.status]
    # A redirect counts as down: to follow it would send the key elsewhere.
    is_client_error = error.status // 100 == 4  # noqa: PLR2004  # the class of the status
    return RequestRejected if is_client_error else ServerError


def _refused_parameter(dialect: Dialect, error: ProviderError) -> Parameter | None:
    """The parameter that the error names as unsupported.

    A message is searched only where it begins, and for whole phrases: it may quote the caller.
    """
    if error.status not in _REFUSING_STATUSES or not dialect.parameters:
        return None
    if error.parameter in dialect.parameters:
        return dialect.parameters[error.parameter]
    found = _refusal_pattern(tuple(dialect.parameters)).search(error.message[:_REFUSAL_CHARS])
    name = next(filter(None, found.groups())) if found else ""
    return dialect.parameters.get(name.lower())


@cache
def _refusal_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """The phrases in which an API says that it does not support one of `names`."""
    longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    name = rf"['\"`(\[]*({longest_first})(?!\w)"
    return re.compile(
        rf"\b(?:unsupported|unknown|unrecognized|unexpected)(?: \w+){{1,3}}:? {name}"
        rf"|\b(?:does not|doesn't|do not) support (?:\w+:? )?{name}"
        rf"|may not be enabled when {name}"
        rf"|(?<!\w){name}['\"`)]*(?: \w+)?:? ?(?:is|are|extra inputs are)? ?"
        r"(?:currently )?(?:not (?:supported|enabled|available|permitted|allowed|compatible)"
        r"|unsupported|deprecated)",
        re.IGNORECASE,
    )


def _unsupported_field(error: Mapping[str, Any], outer: Mapping[str, Any]) -> str:
    """The field of the request that is unsupported: as OpenAI says it, or as FastAPI does."""
    if error.get("code") in _UNSUPPORTED_CODES:
        return text_of(error.get("param"))
    first = first_of(outer.get("detail"))
    location = list_of(first.get("loc"))
    return text_of(location[-1]) if first.get("type") == "extra_forbidden" and location else ""


def safe_text(text: str, secrets: Sequence[str] = ()) -> str:
    """A provider's words as a message may show them: short, printable, without keys."""
    secrets = [secret for secret in secrets if secret]
    for secret in secrets:
        text = text.replace(secret, "[key]")
    text = _KEY_LIKE.sub("[key]", _UNPRINTABLE.sub(" ", text[: MESSAGE_CHARS_MAX * 4]))
    keys = [secret for secret in secrets if len(secret) >= KEY_CHARS_MIN]

    def masked(word: re.Match[str]) -> str:
        return "[key]" if any(_is_part(word[0], key) for key in keys) else word[0]

    return (_WORD.sub(masked, text) if keys else text).strip()[:MESSAGE_CHARS_MAX]


def _is_part(word: str, secret: str) -> bool:
    """Whether a word shows some of a key: a run of its characters, or its last ones."""
    runs = range(len(word) - PART_CHARS_MIN + 1)
    return secret[-END_CHARS:] in word or any(
        word[start : start + PART_CHARS_MIN] in secret for start in runs
    )


def _status(error: Mapping[str, Any]) -> int | None:
    """The HTTP status that an error inside a stream names."""
    named = (count_of(error.get(key)) for key in ("code", "status", "http_status_code"))
    return next((status for status in named if 400 <= status <= 599), None)  # noqa: PLR2004  # the classes of errors


def _message(value: Any, depth: int = MESSAGE_DEPTH_MAX) -> str:
    """The sentences in an error; other fields may quote the caller's text."""
    if isinstance(value, str) or depth == 0:
        return text_of(value)
    if isinstance(value, list):
        parts = (_message(part, depth - 1) for part in value[:MESSAGE_PARTS_MAX])
        return "; ".join(filter(None, parts))
    found = (_message(mapping_of(value).get(key), depth - 1) for key in _MESSAGE_KEYS)
    return next(filter(None, found), "")


def _retry_delay_s(details: Sequence[Mapping[str, Any]]) -> float | None:
    """Google's RetryInfo, a duration such as `34.5s`."""
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and delay.endswith("s"):
            return _seconds(delay[:-1])
    return None


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX) if math.isfinite(seconds) else None
