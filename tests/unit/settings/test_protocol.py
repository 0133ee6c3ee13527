"""Which of OpenAI's protocols a provider is asked in, and how a model that thinks is configured."""

from __future__ import annotations

import math
from typing import Any

import pytest

from assay.bootstrap.from_settings import models_from_settings
from assay.domain.models import Model
from assay.settings import ProviderSettings, Settings


@pytest.mark.parametrize(
    "base_url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"]
)
def test_a_server_of_decisions_is_named_with_or_without_its_version(base_url: str) -> None:
    """Clients of this protocol know the one, and those of OpenAI the other."""
    provider = ProviderSettings(dialect="systemone", base_url=base_url)
    assert provider.url == "http://h:1/v1"


def test_what_a_model_answers_in_follows_from_its_dialect_and_its_profile() -> None:
    """A model that decides writes nothing; one with a profile has the reading of it."""
    settings = Settings.model_validate(
        {
            "providers": {
                "d": {"dialect": "systemone", "base_url": "http://127.0.0.1:1"},
                "l": {"dialect": "openai", "base_url": "http://127.0.0.1:1/v1"},
            },
            "models": {
                "d/a": {"provider": "d", "name": "a"},
                "l/b": {"provider": "l", "name": "b", "profile": "glider"},
                "l/c": {"provider": "l", "name": "c"},
            },
        }
    )
    decider, trained, plain = models_from_settings(settings)
    assert decider.decides
    assert (decider.max_output_tokens, decider.capabilities.schema) == (0, False)
    assert (trained.reading, trained.decides) == (("score_tag",), False)
    assert len({trained.fingerprint, plain.fingerprint, decider.fingerprint}) == 3
    assert (plain.profile, plain.reading) == (None, ())


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
