"""Without configured models: builds a default judge from what the environment offers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

OLLAMA_URL = "http://127.0.0.1:11434/v1"
DISCOVERY_TIMEOUT_S = 0.5
ANSWER_BYTES_MAX = 1_000_000

Table = dict[str, Any]

# The vendors' small judges: cheap enough to be a default. Prices in US dollars per million tokens.
_VENDORS: tuple[tuple[str, Table, Table], ...] = (
    (
        "OPENAI_API_KEY",
        {"dialect": "openai"},
        {
            "provider": "openai",
            "name": "gpt-5-mini",
            "context_tokens": 400_000,
            "input_usd_per_mtok": 0.25,
            "output_usd_per_mtok": 2.0,
            "temperature": False,
        },
    ),
    (
        "ANTHROPIC_API_KEY",
        {"dialect": "anthropic"},
        {
            "provider": "anthropic",
            "name": "claude-haiku-4-5",
            "context_tokens": 200_000,
            "input_usd_per_mtok": 1.0,
            "output_usd_per_mtok": 5.0,
        },
    ),
    (
        "GEMINI_API_KEY",
        {"dialect": "gemini"},
        {
            "provider": "gemini",
            "name": "gemini-2.5-flash",
            "context_tokens": 1_048_576,
            "input_usd_per_mtok": 0.30,
            "output_usd_per_mtok": 2.50,
        },
    ),
)


def discover(environ: Mapping[str, str]) -> dict[str, Table]:
    """Providers, models and the default judge for the keys in `environ` and a local server.

    Without any of them, the simulated provider, whose results are marked as such.
    """
    providers: Table = {}
    models: Table = {}
    local_url = environ.get("OPENAI_BASE_URL", "")
    for variable, provider, model in _VENDORS:
        if environ.get(variable) and not (local_url and provider["dialect"] == "openai"):
            name = model["provider"]
            providers[name] = {**provider, "api_key_env": variable}
            models[f"{name}/{model['name']}"] = model
    served = _first_model(local_url or OLLAMA_URL, environ.get("OPENAI_API_KEY", ""))
    if served:
        providers["local"] = {
            "dialect": "openai",
            "base_url": local_url or OLLAMA_URL,
            "api_key_env": "OPENAI_API_KEY",
        }
        models[f"local/{served}"] = {"provider": "local", "name": served}
    if not models:
        providers["simulated"] = {"dialect": "simulated"}
        models["simulated/judge"] = {"provider": "simulated", "name": "judge"}
    return {
        "providers": providers,
        "models": models,
        "judges": {"default": {"models": list(models)}},
    }


def _first_model(base_url: str, api_key: str) -> str | None:
    """The first model that an OpenAI-compatible server lists; None if there is no server."""
    if not base_url.startswith(("http://", "https://")):
        return None
    request = urllib.request.Request(base_url.rstrip("/") + "/models")  # noqa: S310 — checked above
    if api_key:
        request.add_header("Authorization", f"Bearer {api_key}")
    try:
        with urllib.request.urlopen(request, timeout=DISCOVERY_TIMEOUT_S) as response:  # noqa: S310
            listed = json.loads(response.read(ANSWER_BYTES_MAX))
        return str(listed["data"][0]["id"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
