"""Without configured models: builds a default judge from what the environment offers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from assay.settings.addresses import checked_base_url

OLLAMA_URL = "http://127.0.0.1:11434/v1"
DISCOVERY_TIMEOUT_S = 0.5
NAMED_TIMEOUT_S = 5.0
"""A server that the environment names may be far away, and has to be there."""
ANSWER_BYTES_MAX = 1_000_000

Table = dict[str, Any]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """To follow a redirect would send the key elsewhere."""


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
"""Asks a server itself, as judges do: a proxy of the environment would read the key."""

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

    Without any of them, the simulated provider, whose results are marked as such. Raises
    `ValueError` if `OPENAI_BASE_URL` names no server that lists its models.
    """
    providers: Table = {}
    models: Table = {}
    local_url = environ.get("OPENAI_BASE_URL", "")
    for variable, provider, model in _VENDORS:
        if environ.get(variable) and not (local_url and provider["dialect"] == "openai"):
            name = model["provider"]
            providers[name] = {**provider, "api_key_env": variable}
            models[f"{name}/{model['name']}"] = model
    # A key of the environment belongs to the URL beside it, and to no server that is only guessed.
    key_env = "OPENAI_API_KEY" if local_url else ""
    served = _named_model(local_url, environ.get(key_env, "")) if local_url else _ollama_model()
    if served:
        providers["local"] = {
            "dialect": "openai",
            "base_url": local_url or OLLAMA_URL,
            "api_key_env": key_env,
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


def _named_model(base_url: str, api_key: str) -> str:
    """The first model of the server that `OPENAI_BASE_URL` names; raises `ValueError`."""
    try:
        checked_base_url(base_url)
    except ValueError as error:
        raise ValueError(f"OPENAI_BASE_URL: {error}") from None
    try:
        return _first_model(base_url, api_key, NAMED_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        cause = f"answered {error.code} to"
    except OSError as error:
        cause = f"cannot be reached ({getattr(error, 'reason', error)}) at"
    except (ValueError, LookupError, TypeError):
        cause = "lists no model at"
    raise ValueError(
        f"OPENAI_BASE_URL: its server {cause} /models. Start the server, unset the variable, or "
        "configure [providers] and [models]"
    )


def _ollama_model() -> str | None:
    """The first model of a local Ollama; None if there is none."""
    try:
        return _first_model(OLLAMA_URL, "", DISCOVERY_TIMEOUT_S)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _first_model(base_url: str, api_key: str, timeout_s: float) -> str:
    """The first model that an OpenAI-compatible server lists; raises if it lists none."""
    request = urllib.request.Request(base_url.rstrip("/") + "/models")  # noqa: S310 — an http(s) URL
    if api_key:
        request.add_header("Authorization", f"Bearer {api_key}")
    with _DIRECT.open(request, timeout=timeout_s) as response:
        listed = json.loads(response.read(ANSWER_BYTES_MAX))
    return str(listed["data"][0]["id"])
