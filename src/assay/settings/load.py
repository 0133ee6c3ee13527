"""Reads assay.toml and the environment, and explains what is wrong with them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from assay.domain.suggestions import did_you_mean, nearest
from assay.settings.discovery import discover
from assay.settings.schema import Settings

PREFIX = "ASSAY_"
SEPARATOR = "__"
DEFAULT_FILE = Path("assay.toml")
NOT_SETTINGS = frozenset({"ASSAY_CONFIG", "ASSAY_URL", "ASSAY_API_KEY", "ASSAY_DATA"})
"""What the command line and the scripts read."""
NAMED = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_\d+_|_SECRET$")
"""Variables that Kubernetes derives from the names of services, and secrets that settings name."""


class SettingsError(Exception):
    """The configuration is invalid; the message names each key at fault."""


def load(
    file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """The settings from `file`; the environment overrides it, and `overrides` (options) both.

    Without a file, `assay.toml` in the working directory is read if it exists. Without any model,
    `discover` looks for providers in the environment. Raises `SettingsError`.
    """
    raw = _read(file or DEFAULT_FILE, must_exist=file is not None)
    _overlay(raw, environ)
    for section, values in (overrides or {}).items():
        raw.setdefault(section, {}).update(values)
    if not raw.get("models"):
        try:
            discovered = discover(environ)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        for section, found in discovered.items():
            raw[section] = {**found, **raw.get(section, {})}
    chats = [name for name, model in raw["models"].items() if not _embeds(model)]
    judges = raw.setdefault("judges", {})
    if not chats and "default" not in judges:
        raise SettingsError("models: none has the kind 'chat', so nothing can judge")
    judges.setdefault("default", {"models": chats})
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(fault) for fault in error.errors())) from None


def _embeds(model: Any) -> bool:
    return isinstance(model, dict) and model.get("kind") == "embedding"


def misspelt_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that sets nothing, but whose name is near to one that would.

    Names of secrets are free: the settings name them.
    """
    keys = [
        (section, key)
        for section, field in Settings.model_fields.items()
        if not get_args(field.annotation)  # the tables of providers, models and the like
        for key in field.annotation.model_fields  # type: ignore[union-attr]  # every section is a model
    ]
    meant = {key: (section, key) for section, key in reversed(keys)}
    meant |= {f"{section}_{key}": (section, key) for section, key in keys}
    sentences = []
    for name in sorted(environ):
        prefixed = name.startswith(PREFIX)
        if (prefixed and SEPARATOR in name) or name in NOT_SETTINGS or NAMED.search(name):
            continue
        plain = re.sub("_+", "_", name.upper().removeprefix(PREFIX).lower())
        found = nearest(plain, meant) if name.upper().startswith(PREFIX) else None
        if found and not (name.endswith("_PORT") and "://" in environ[name]):
            variable = PREFIX + SEPARATOR.join(meant[found]).upper()
            sentences.append(f"{name} sets nothing; did you mean {variable}?")
    return sentences


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise SettingsError(f"{file}: file not found") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    for name, value in raw.items():
        if not isinstance(value, dict):
            raise SettingsError(f"{file}: {name} must be a section, not a value")
    return raw


def _overlay(raw: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Override `raw` with each ASSAY_SECTION__KEY.

    A name matches an existing key of any case and punctuation, so that
    ASSAY_MODELS__OPENAI_GPT_6_LUNA__NAME overrides [models."openai/gpt-6-luna"].
    """
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or SEPARATOR not in variable:
            continue
        *sections, key = variable.removeprefix(PREFIX).lower().split(SEPARATOR)
        table = raw
        for section in sections:
            table = table.setdefault(_matching(section, table), {})
            if not isinstance(table, dict):
                raise SettingsError(f"{variable}: {section} must be a section, not a value")
        table[_matching(key, table)] = _value(environ[variable])


def _matching(name: str, table: Mapping[str, Any]) -> str:
    folded = re.sub(r"[^a-z0-9]", "_", name)
    return next((key for key in table if re.sub(r"[^a-z0-9]", "_", key.lower()) == folded), name)


def _value(text: str) -> Any:
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _explain(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        message = str(error["msg"]).removeprefix("Value error, ")
        return f"{path}: {message}" if path else message
    *parents, name = error["loc"]
    return f"{path}: unknown key{did_you_mean(name, _keys_at(parents))}"


def _keys_at(path: list[str | int]) -> list[str]:
    """The valid keys of the section at `path`."""
    section: type[BaseModel] = Settings
    for part in path:
        if str(part) not in section.model_fields:
            continue  # the name of one provider, model or judge
        annotation = section.model_fields[str(part)].annotation
        section = get_args(annotation)[1] if get_args(annotation) else annotation  # type: ignore[assignment]  # every section is a model or a dict of models
    return list(section.model_fields)
