"""Without configured models: builds a default judge from what the environment offers."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import logging
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from assay.prompts.profiles import profile_named_like
from assay.settings.addresses import checked_base_url
from assay.settings.known_models import ENDS_SOON, family, known_model, known_models
from assay.settings.providers import BASE_URLS

logger = logging.getLogger(__name__)
OLLAMA_URL = "http://127.0.0.1:11434/v1"
DISCOVERY_TIMEOUT_S = 0.5
NAMED_TIMEOUT_S = 5.0
"""A server that the environment names may be far away, and has to be there."""
ANSWER_BYTES_MAX = 4_000_000

Table = dict[str, Any]
Vendor = Literal["openai", "anthropic", "gemini"]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """To follow a redirect would send the key elsewhere."""


class Way(NamedTuple):
    """How a server is asked; by default directly, as a proxy of the environment would read the key.

    `headers` and `query` are sent besides what the protocol sends, which wins.
    """

    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    proxy: str | None = None
    tls: ssl.SSLContext | bool = True

    def open(self, request: urllib.request.Request, timeout_s: float) -> Any:
        proxies = dict.fromkeys(("http", "https"), self.proxy) if self.proxy else {}
        handlers = [urllib.request.ProxyHandler(proxies), _NoRedirect()]
        if isinstance(self.tls, ssl.SSLContext):
            handlers.append(urllib.request.HTTPSHandler(context=self.tls))
        return urllib.request.build_opener(*handlers).open(request, timeout=timeout_s)


DIRECT = Way()
_VENDORS: tuple[tuple[str, Vendor], ...] = (
    ("OPENAI_API_KEY", "openai"),
    ("ANTHROPIC_API_KEY", "anthropic"),
    ("GEMINI_API_KEY", "gemini"),
)


class Listed(NamedTuple):
    """A model that a provider lists, and the day of its end if the provider tells it."""

    name: str
    end_of_life: dt.date | None
    generates: bool = True

    @property
    def is_fit(self) -> bool:
        """Whether it may judge by default: a chat model that does not end soon."""
        soon = dt.datetime.now(dt.UTC).date() + ENDS_SOON
        chats = not any(part in self.name.lower() for part in known_models().choice.unfit)
        return self.generates and chats and (self.end_of_life is None or self.end_of_life > soon)


def discover(environ: Mapping[str, str]) -> dict[str, Table]:
    """Providers and models for the keys in `environ` and a local server.

    Without any of them, the simulated provider, whose results are marked as such. Raises
    `ValueError` if a server that the environment names lists no model to choose.
    """
    providers: Table = {}
    models: Table = {}
    local_url = environ.get("OPENAI_BASE_URL", "")
    # A key of the environment belongs to the URL beside it, and to no server that is only guessed.
    key_env = "OPENAI_API_KEY" if local_url else ""
    served = _named_model(local_url, environ.get(key_env, "")) if local_url else _ollama_model()
    for variable, vendor in _VENDORS:
        key = environ.get(variable, "").strip()
        if key and not (local_url and vendor == "openai"):
            providers[vendor] = {"dialect": vendor, "api_key_env": variable}
            _add(models, vendor, _vendor_model(variable, vendor, key))
    if served:
        base_url = local_url or OLLAMA_URL
        providers["local"] = {"dialect": "openai", "base_url": base_url, "api_key_env": key_env}
        _add(models, "local", served)
    if not models:
        providers["simulated"] = {"dialect": "simulated"}
        models["simulated/judge"] = {"provider": "simulated", "name": "judge"}
        embedder = {"provider": "simulated", "name": "embedder", "kind": "embedding"}
        models["simulated/embedder"] = embedder
    return {"providers": providers, "models": models}


def _add(models: Table, provider: str, chosen: Listed) -> None:
    """Configure the chosen model, and say how another one is."""
    id_ = f"{provider}/{chosen.name}"
    models[id_] = {
        "provider": provider,
        "name": chosen.name,
        "end_of_life": chosen.end_of_life,
        "profile": profile_named_like(chosen.name),
    }
    logger.warning(
        "No model is configured: %s judges, chosen from what its provider lists. To pin this or "
        'another one, add [providers.%s] and [models."%s"] to assay.toml',
        *(id_, provider, id_),
    )


def _vendor_model(variable: str, vendor: Vendor, key: str) -> Listed:
    """The first preferred model that the vendor lists; raises `ValueError`."""
    wanted = getattr(known_models().choice, vendor)
    listed = _list(variable, BASE_URLS[vendor], vendor, key)
    if chosen := _preferred(listed, wanted):
        return chosen
    raise ValueError(
        f"{variable}: its provider lists no model that judges by default ({', '.join(wanted)}). "
        f"Configure one in [models], such as {wanted[0]!r}"
    )


def _named_model(base_url: str, key: str) -> Listed:
    """The model of the server that `OPENAI_BASE_URL` names; raises `ValueError`."""
    try:
        checked_base_url(base_url)
    except ValueError as error:
        raise ValueError(f"OPENAI_BASE_URL: {error}") from None
    if chosen := _of_any_vendor(_list("OPENAI_BASE_URL", base_url, "openai", key)):
        return chosen
    raise ValueError(
        "OPENAI_BASE_URL: its server lists no chat model that stays at /models. Configure "
        "[providers] and [models]"
    )


def _ollama_model() -> Listed | None:
    """The model of a local Ollama; None if there is none."""
    try:
        return _of_any_vendor(_listed(OLLAMA_URL, "openai", "", DISCOVERY_TIMEOUT_S))
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError):
        return None


def _of_any_vendor(listed: Sequence[Listed]) -> Listed | None:
    """The first preferred model of any vendor, else the first fit one."""
    choice = known_models().choice
    wanted = (*choice.openai, *choice.anthropic, *choice.gemini)
    return _preferred(listed, wanted) or next((model for model in listed if model.is_fit), None)


def _preferred(listed: Sequence[Listed], wanted: Sequence[str]) -> Listed | None:
    """The first of `wanted` that is listed, by its plain name rather than a dated version's."""
    fit = sorted((model for model in listed if model.is_fit), key=lambda model: len(model.name))
    found = (model for name in wanted for model in fit if family(model.name) == name)
    return next(found, None)


def _list(variable: str, base_url: str, vendor: Vendor, key: str) -> list[Listed]:
    """What the server of a variable lists; raises `ValueError` that names the variable."""
    try:
        return list_models(base_url, vendor, key)
    except ValueError as error:
        pin = getattr(known_models().choice, vendor)[0]
        raise ValueError(
            f"{variable}: its server {error}, so no judge can be chosen. Start the server, unset "
            f"the variable, or configure [providers] and [models], for example with {pin!r}"
        ) from None


def list_models(base_url: str, vendor: Vendor, key: str, way: Way = DIRECT) -> list[Listed]:
    """The models that a server lists; raises `ValueError` that says what it did instead."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("cannot be asked at /models, as the key cannot be sent in a header")
    try:
        return _listed(base_url, vendor, key, NAMED_TIMEOUT_S, way)
    except urllib.error.HTTPError as error:
        error.close()
        cause = f"answered {error.code} to"
    except OSError as error:
        cause = f"cannot be reached ({getattr(error, 'reason', error)}) at"
    except http.client.HTTPException:
        cause = "does not answer in HTTP at"
    except (ValueError, LookupError, TypeError, AttributeError):
        cause = "lists no model at"
    raise ValueError(f"{cause} /models")


def _listed(
    base_url: str, vendor: Vendor, key: str, timeout_s: float, way: Way = DIRECT
) -> list[Listed]:
    """The models that a server lists; raises if it lists none."""
    own: dict[Vendor, Mapping[str, str]] = {
        "openai": {},
        "anthropic": {"limit": "1000"},
        "gemini": {"pageSize": "1000"},
    }
    query = urllib.parse.urlencode({**way.query, **own[vendor]})
    url = f"{base_url.rstrip('/')}/models?{query}".rstrip("?")
    request = urllib.request.Request(url, headers=dict(way.headers))  # noqa: S310 — an http(s) URL
    if key and vendor == "openai":
        request.add_header("Authorization", f"Bearer {key}")
    elif key:
        request.add_header({"anthropic": "x-api-key", "gemini": "x-goog-api-key"}[vendor], key)
    if vendor == "anthropic":
        request.add_header("anthropic-version", "2023-06-01")
    with way.open(request, timeout_s) as response:
        answer = json.loads(response.read(ANSWER_BYTES_MAX))
    entries = answer["models" if vendor == "gemini" else "data"]
    named = "name" if vendor == "gemini" else "id"
    listed = [
        _model(entry, entry[named].removeprefix("models/" if vendor == "gemini" else ""))
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get(named), str)
    ]
    if not listed:
        raise LookupError("no model")
    return listed


def _model(entry: Table, name: str) -> Listed:
    told = entry.get("shutdown_date")
    end = _day(told) if told else known_model(name).end_of_life
    methods = entry.get("supportedGenerationMethods", ["generateContent"])
    return Listed(name, end, "generateContent" in methods)


def _day(told: Any) -> dt.date:
    """The day of a date, a time or a Unix time; what cannot be read may be today."""
    try:
        if isinstance(told, str):
            return dt.datetime.fromisoformat(told).date()
        return dt.datetime.fromtimestamp(told, dt.UTC).date()
    except (ValueError, TypeError, OverflowError, OSError):
        return dt.datetime.now(dt.UTC).date()
