"""Reads assay.toml, lays the environment over it, and says plainly what is wrong."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from assay.settings.discovery import discover
from assay.settings.schema import Settings

PREFIX = "ASSAY_"
SEPARATOR = "__"
DEFAULT_FILE = Path("assay.toml")


class SettingsError(Exception):
    """The configuration cannot be used; the message names each key at fault."""


def load(
    file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """The settings from `file`, under the environment, under `overrides` (command line).

    Without a file, `assay.toml` in the working directory is read where it is there. Without any
    model, providers are looked for in the environment. Raises `SettingsError`.
    """
    raw = _read(file or DEFAULT_FILE, must_exist=file is not None)
    _overlay(raw, environ)
    for section, values in (overrides or {}).items():
        raw.setdefault(section, {}).update(values)
    if not raw.get("models"):
        for section, found in discover(environ).items():
            raw[section] = {**found, **raw.get(section, {})}
    raw.setdefault("judges", {}).setdefault("default", {"models": list(raw["models"])})
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(each) for each in error.errors())) from None


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise SettingsError(f"{file}: there is no such file") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    for name, value in raw.items():
        if not isinstance(value, dict):
            raise SettingsError(f"{file}: {name} is a value, not a section")
    return raw


def _overlay(raw: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put each ASSAY_SECTION__KEY in its place.

    A name in a path matches an existing key whatever its case and punctuation, so that
    ASSAY_MODELS__OPENAI_GPT_5_MINI__NAME reaches [models."openai/gpt-5-mini"].
    """
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or SEPARATOR not in variable:
            continue
        *sections, key = variable.removeprefix(PREFIX).lower().split(SEPARATOR)
        table = raw
        for section in sections:
            table = table.setdefault(_matching(section, table), {})
            if not isinstance(table, dict):
                raise SettingsError(f"{variable}: {section} is a value, not a section")
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
    nearest = difflib.get_close_matches(str(name), _keys_at(parents), n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"{path}: there is no such key{hint}"


def _keys_at(path: list[str | int]) -> list[str]:
    """The valid keys of the section at `path`."""
    section: type[BaseModel] = Settings
    for part in path:
        if str(part) not in section.model_fields:
            continue  # the name of one provider, model or judge
        annotation = section.model_fields[str(part)].annotation
        section = get_args(annotation)[1] if get_args(annotation) else annotation  # type: ignore[assignment]  # every section is a model or a dict of models
    return list(section.model_fields)
