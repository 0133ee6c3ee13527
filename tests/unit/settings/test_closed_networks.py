"""Settings of providers in closed networks: URLs by region, what must be set, and templates."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from assay.settings import ProviderSettings, Template
from assay.settings import secret as secret_module


def provider(**fields: Any) -> ProviderSettings:
    return ProviderSettings.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        (
            {"dialect": "azure", "base_url": "https://acme.openai.azure.com/"},
            "https://acme.openai.azure.com/openai/deployments",
        ),
        (
            {"dialect": "azure", "base_url": "https://acme.openai.azure.com/openai"},
            "https://acme.openai.azure.com/openai/deployments",
        ),
        (
            {"dialect": "bedrock", "region": "eu-central-1"},
            "https://bedrock-runtime.eu-central-1.amazonaws.com",
        ),
        (
            {"dialect": "bedrock", "region": "cn-north-1"},
            "https://bedrock-runtime.cn-north-1.amazonaws.com.cn",
        ),
        (
            {"dialect": "bedrock", "region": "eu-central-1", "base_url": "https://vpce-1.aws/"},
            "https://vpce-1.aws",
        ),
        (
            {"dialect": "vertex", "region": "us-east5", "project": "p-1"},
            "https://us-east5-aiplatform.googleapis.com/v1/projects/p-1/locations/us-east5/publishers",
        ),
        (
            {"dialect": "vertex", "region": "global", "project": "acme-1"},
            "https://aiplatform.googleapis.com/v1/projects/acme-1/locations/global/publishers",
        ),
        (
            {"dialect": "vertex", "region": "eu", "project": "acme-1"},
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/acme-1/locations/eu/publishers",
        ),
        ({"dialect": "openai", "base_url": "http://gateway/v1/"}, "http://gateway/v1"),
    ],
)
def test_the_url_follows_from_region_and_project(fields: dict[str, Any], url: str) -> None:
    """Each cloud has hosts by region, and some regions have hosts of their own."""
    assert provider(**fields).url == url


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dialect": "azure"}, "base_url: must be set for azure"),
        ({"dialect": "bedrock"}, "region: must be set for bedrock"),
        ({"dialect": "vertex"}, "region and project: must be set for vertex"),
        ({"dialect": "vertex", "region": "x/../y", "project": "p"}, "region"),
        ({"dialect": "azure", "base_url": "https://a", "api_version": "latest"}, "api_version"),
        ({"dialect": "azure", "base_url": "https://a/openai/v1/"}, 'use dialect = "openai"'),
        ({"dialect": "azure", "base_url": "https://a/openai/deployments/d"}, "base_url: must be"),
        ({"dialect": "openai", "region": "us-east-1"}, "region: is of no use for openai"),
        ({"dialect": "bedrock", "region": "us-east-1", "project": "acme"}, "project: is of no use"),
        ({"dialect": "openai", "api_version": "2024-10-21"}, "api_version: is of no use"),
        ({"dialect": "openai", "client_key_file": "key"}, "client_key_file: needs"),
        ({"dialect": "openai", "headers": {"Bad Name": "x"}}, "'Bad Name' is not the name"),
        ({"dialect": "openai", "headers": {"Content-Length": "1"}}, "'Content-Length' is not"),
        ({"dialect": "openai", "headers": {"X": "a\nb"}}, "X: the value cannot be sent"),
    ],
)
def test_what_cannot_work_is_named(fields: dict[str, Any], said: str) -> None:
    """At the start, with the setting at fault."""
    with pytest.raises(ValidationError, match=said):
        provider(**fields)


def test_a_secret_file_that_changes_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template gives the present value at each call, also inside lists and objects."""
    monkeypatch.setattr(secret_module, "CHECK_EVERY_S", 0.0)
    file = tmp_path / "token"
    file.write_text("first\n")
    template = Template({"a": [f"Bearer ${{file:{file}}}", 7], "b": {"c": "plain"}})
    assert template() == {"a": ["Bearer first", 7], "b": {"c": "plain"}}
    file.write_text("second")
    os.utime(file, ns=(time.time_ns() + 10**9,) * 2)
    assert template() == {"a": ["Bearer second", 7], "b": {"c": "plain"}}
    assert template.secrets() == ["second"]
    assert "second" not in repr(template)


def test_what_refers_to_nothing_is_given_as_it_is() -> None:
    """A value without secrets costs nothing."""
    value = {"a": ["$5", {"b": None}]}
    assert Template(value)() is value
