"""Forms made of JSON Schemas, and the values that come back from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from starlette.datastructures import FormData

from assay.console.views import words

Kind = Literal["line", "text", "number", "choice", "flag", "json"]
LONG = frozenset({"rubric", "question", "instructions", "prompt", "source", "statement"})
"""Texts that need more than a line."""
DIGITS_MAX = 10
_MISSING: Any = object()


class FormFault(Exception):
    """A field cannot be read."""


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form."""

    name: str
    kind: Kind
    label: str
    help: str
    required: bool
    value: str
    options: tuple[str, ...] = ()


def to_fields(
    schema: Mapping[str, Any], defaults: Mapping[str, Any], leave_out: Collection[str]
) -> list[FormField]:
    """The fields of an object, the required ones first; `defaults` fill them."""
    required = set(schema.get("required", ())) | (set(defaults) - set(leave_out))
    fields = [
        _field(name, _one(part), defaults.get(name, _MISSING), required=name in required)
        for name, part in schema.get("properties", {}).items()
        if name not in leave_out
    ]
    return sorted(fields, key=lambda field: not field.required)


def read_fields(
    form: FormData, schema: Mapping[str, Any], prefix: str, leave_out: Collection[str]
) -> dict[str, Any]:
    """The values of a form; what was left empty is absent. Raises `FormFault`."""
    found: dict[str, Any] = {}
    for field in to_fields(schema, {}, leave_out):
        text = str(form.get(prefix + field.name) or "")
        if field.kind == "flag":
            if text:
                found[field.name] = True
        elif text.strip():
            found[field.name] = _value(field, text)
    return found


def read_json(form: FormData, name: str) -> Any:
    """The JSON in a field, None if it is empty; raises `FormFault`."""
    text = str(form.get(name) or "").strip()
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError as error:
        raise FormFault(f"{words(name).capitalize()} must be JSON: {error}") from None


def read_number(form: FormData, name: str) -> float | None:
    """The number in a field, None if it is empty; raises `FormFault`."""
    text = str(form.get(name) or "").strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise FormFault(f"{words(name).capitalize()} must be a number") from None


def read_count(text: str | None, otherwise: int = 0) -> int:
    """The number of a row or of rows in a URL or a form; `otherwise` for everything else."""
    text = text or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < DIGITS_MAX else otherwise


def read_texts(form: FormData, names: Collection[str]) -> dict[str, Any]:
    """Those of the fields that are not empty."""
    given = {name: str(form.get(name) or "").strip() for name in names}
    return {name: text for name, text in given.items() if text}


def _one(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a schema with alternatives the first one that is not null."""
    choices = [one for one in part.get("anyOf", ()) if one.get("type") != "null"]
    return {**choices[0], **{k: v for k, v in part.items() if k != "anyOf"}} if choices else part


def _field(name: str, part: Mapping[str, Any], default: Any, *, required: bool) -> FormField:
    kind = _kind(name, part)
    given = part.get("default") if default is _MISSING else default
    value = "" if given is None or (default is _MISSING and kind == "json") else given
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if kind == "flag":
        text = "on" if value is True else ""
    options = tuple(str(one) for one in part.get("enum", ()))
    return FormField(
        name, kind, words(name), str(part.get("description", "")), required, text, options
    )


def _kind(name: str, part: Mapping[str, Any]) -> Kind:
    if "enum" in part:
        return "choice"
    match part.get("type"):
        case "string":
            return "text" if name in LONG else "line"
        case "number" | "integer":
            return "number"
        case "boolean":
            return "flag"
    return "json"


def _value(field: FormField, text: str) -> Any:
    if field.kind in ("line", "text", "choice"):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if field.kind == "json":
            return [line.strip() for line in text.splitlines() if line.strip()]
        raise FormFault(f"{field.label} must be a number") from None
