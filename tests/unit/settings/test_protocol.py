"""Which of OpenAI's protocols a provider is asked in, and how a model that thinks is configured."""

from __future__ import annotations

import math
from typing import Any

import pytest

from assay.bootstrap.from_settings import models_from_settings
from assay.domain.models import Model
from assay.settings import ProviderSettings, Settings


@pytest.mark.parametrize(
    ("dialect", "base_url", "protocol"),
    [
        ("openai", "", "openai_responses"),
        ("openai", "https://api.openai.com/v1/", "openai_responses"),
        ("openai", "https://api.openai.com.example/v1", "openai"),
        ("openai", "http://127.0.0.1:8000/v1", "openai"),
        ("openai_chat", "", "openai"),
        ("openai_responses", "http://127.0.0.1:8000/v1", "openai_responses"),
        ("anthropic", "", "anthropic"),
    ],
)
def test_openai_itself_is_asked_over_its_responses_api(
    dialect: Any, base_url: str, protocol: str
) -> None:
    """Compatible servers keep chat completions, and a configuration can name either."""
    assert ProviderSettings(dialect=dialect, base_url=base_url).protocol == protocol


def model(**fields: Any) -> Model:
    settings = Settings.model_validate(
        {
            "providers": {"acme": {"dialect": "openai", "base_url": "http://127.0.0.1:1/v1"}},
            "models": {"acme/judge": {"provider": "acme", "name": "judge", **fields}},
        }
    )
    return models_from_settings(settings)[0]


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({}, False),
        ({"reasoning": True}, True),
        ({"reasoning_effort": "low"}, True),
        ({"thinking_budget_tokens": 0}, True),
        ({"reasoning": False, "reasoning_effort": "low"}, False),
    ],
)
def test_an_effort_marks_a_model_that_thinks(fields: dict[str, Any], reasoning: bool) -> None:
    """Unless the configuration says that it does not; it has room for more output."""
    configured = model(**fields)
    assert configured.reasoning == reasoning
    assert configured.max_output_tokens == (32_768 if reasoning else 4_096)
    assert configured.thinking_timeout_s == math.inf
