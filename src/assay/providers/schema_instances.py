"""Makes a value that a JSON Schema allows, by a given source of chance.

Knows what schemas of answers use: enum, const, type, ranges, lengths, items, properties, anyOf,
oneOf, allOf and local references. A pattern is not honoured.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

DEPTH_MAX = 16
"""Nesting beyond this is answered with the schema's shortest value; references may be circular."""
NUMBER_SPAN = 10
ITEMS_EXTRA_MAX = 2
SPOKEN_RANGE = re.compile(r"\bfrom (-?\d[\d.e+]*) to (-?\d[\d.e+]*)")
"""Bounds that a description states, since some providers refuse them as keywords."""

_Make = Callable[[Mapping[str, Any], int], Any]


def instance(schema: Mapping[str, Any], rng: random.Random, text: str) -> Any:
    """A value that `schema` allows; its free strings read `text`, cut or filled to their limits."""
    return _Maker(schema, rng, text).make(schema, 0)


class _Maker:
    def __init__(self, root: Mapping[str, Any], rng: random.Random, text: str) -> None:
        self._root = root
        self._chance = rng
        self._text = text

    def make(self, schema: Any, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._chance.choice(list(schema["enum"]))
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._make_one_of(schema, union, depth)
        kind = self._kind(schema)
        makers: Mapping[str, _Make] = {
            "object": self._make_object,
            "array": self._make_array,
            "integer": self._make_number,
            "number": self._make_number,
            "boolean": self._make_boolean,
            "null": self._make_null,
            "string": self._make_string,
        }
        known = kind if kind in makers else "string"
        return makers[known]({**schema, "type": known}, depth)

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        for _ in range(DEPTH_MAX):
            if not isinstance(schema, Mapping):  # true and {} allow anything
                return {}
            if "allOf" in schema:
                merged = {key: value for key, value in schema.items() if key != "allOf"}
                for part in schema["allOf"]:
                    merged = _merged(merged, self._resolved(part))
                return merged
            if "$ref" not in schema:
                return schema
            schema = self._referred(schema["$ref"])
        return {}

    def _referred(self, reference: str) -> Any:
        target: Any = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            target = target[name.replace("~1", "/").replace("~0", "~")]
        return target

    def _kind(self, schema: Mapping[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list | tuple):
            return str(self._chance.choice(list(kind)))
        if isinstance(kind, str):
            return kind
        if "properties" in schema:
            return "object"
        if "items" in schema:
            return "array"
        return "number" if "minimum" in schema or "maximum" in schema else "string"

    def _make_one_of(self, schema: Mapping[str, Any], union: str, depth: int) -> Any:
        rest = {key: value for key, value in schema.items() if key != union}
        options = list(schema[union])
        chosen = options[-1] if depth > DEPTH_MAX else self._chance.choice(options)
        return self.make(_merged(rest, self._resolved(chosen)), depth + 1)

    def _make_object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            name: self.make(each, depth + 1)
            for name, each in schema.get("properties", {}).items()
            if depth < DEPTH_MAX or name in required
        }

    def _make_array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", least + ITEMS_EXTRA_MAX)
        deep = depth >= DEPTH_MAX
        count = least if deep else self._chance.randint(least, min(most, least + ITEMS_EXTRA_MAX))
        first = list(schema.get("prefixItems", ()))[:most]
        made = [self.make(each, depth + 1) for each in first]
        more = schema.get("items", True)
        while len(made) < count and more is not False:
            made.append(self.make(more, depth + 1))
        return made

    def _make_number(self, schema: Mapping[str, Any], _depth: int) -> int | float:
        low, high = _range(schema)
        step = schema.get("multipleOf") or (1 if schema.get("type") == "integer" else None)
        if step is None:
            value = round(self._chance.uniform(low, high), 3)
            # Rounding can land on or beyond an end that may be excluded; the middle never is.
            return value if low < value < high else (low + high) / 2
        first, last = math.ceil(low / step), math.floor(high / step)
        first += schema.get("exclusiveMinimum") == first * step
        last -= schema.get("exclusiveMaximum") == last * step
        count = self._chance.randint(first, max(first, last))
        return count * step if schema.get("type") != "integer" else int(count * step)

    def _make_boolean(self, _schema: Mapping[str, Any], _depth: int) -> bool:
        return self._chance.choice((True, False))

    def _make_null(self, _schema: Mapping[str, Any], _depth: int) -> None:
        return None

    def _make_string(self, schema: Mapping[str, Any], _depth: int) -> str:
        filled = self._text.ljust(schema.get("minLength", 0), ".")
        return filled[: schema.get("maxLength", len(filled))]


def _range(schema: Mapping[str, Any]) -> tuple[float, float]:
    low = max(
        (schema[name] for name in ("minimum", "exclusiveMinimum") if name in schema), default=None
    )
    high = min(
        (schema[name] for name in ("maximum", "exclusiveMaximum") if name in schema), default=None
    )
    spoken = SPOKEN_RANGE.search(str(schema.get("description", "")))
    if low is None and high is None and spoken is not None:
        return float(spoken[1]), float(spoken[2])
    if low is None:
        low = 0 if high is None else min(0, high - NUMBER_SPAN)
    return low, max(low, low + NUMBER_SPAN if high is None else high)


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged
