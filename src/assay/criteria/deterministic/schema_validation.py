"""JSON Schemas of callers: bounded, compiled without any network access, applied to a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import jsonschema_rs
from pydantic_core import PydanticCustomError

from assay.criteria.deterministic.findings import shortened
from assay.criteria.locations import Location, fault_at
from assay.domain.case_text import size_of
from assay.domain.errors import NotApplicable

SCHEMA_CHARS_MAX = 100_000
SCHEMA_DEPTH_MAX = 64
OBJECT_OR_BOOLEAN = "must be an object or a boolean"
PATTERN_BYTES_MAX = 1024 * 1024
PLAIN_KEYWORDS = frozenset(
    {"$schema", "title", "description", "default", "examples", "type", "enum", "const"}
    | {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}
    | {"items", "minItems", "maxItems", "minLength", "maxLength"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)
"""The keywords that apply at most one schema to each value within a value.

So each value meets one schema, once, and checking takes no more steps than the size of the schema
times that of the value. Combinators and references apply several schemas to the same value: each
level may double the work of the one below it.
"""
PLAIN_SIZE_MAX = 5_000
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
DATA_KEYWORDS = frozenset({"enum", "const", "default", "examples"})
"""Their values are data, where a "$ref" is a member like any other."""
NAMED_SCHEMAS = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
"""Their values are schemas by name, and a name may look like a keyword."""


class SchemaValidator:
    """A compiled JSON Schema; Drafts 4 to 2020-12, the latter by default.

    References must stay within the schema. Patterns run on an engine of linear time: a
    backtracking one would let a caller's pattern stall the process. Raises `ValidationError` with
    the place of the fault, `at` being that of the schema, where the schema is not valid or exceeds
    a bound. Source: https://json-schema.org/specification.
    """

    def __init__(self, schema: Any, at: Location = ()) -> None:
        _check_bounds(schema, at)
        patterns = jsonschema_rs.RegexOptions(
            size_limit=PATTERN_BYTES_MAX, dfa_size_limit=PATTERN_BYTES_MAX
        )
        try:
            self._validator = jsonschema_rs.validator_for(
                schema, retriever=_refuse_retrieval, pattern_options=patterns
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            message = str(getattr(error, "message", None) or error).partition("\n")[0]
            fault = PydanticCustomError(
                "invalid_schema",
                "is not a valid JSON Schema: {message}",
                {"message": shortened(message)},
            )
            raise fault_at(at, fault, None) from None

    def faults(self, value: Any, faults_max: int = 1) -> list[str]:
        """The first faults of a JSON value, each with its location; none where it conforms.

        Finding more than one takes 15 µs for each fault that there is, whatever `faults_max`.
        Raises `NotApplicable` where the value is nested too deeply.
        """
        try:
            if faults_max > 1:
                found = self._validator.iter_errors(value)
                return [_description(error) for error in islice(found, faults_max)]
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return [_description(error)]
        except ValueError:
            raise NotApplicable(
                "check_error", "the value is nested too deeply to be checked"
            ) from None
        return []


def is_plain(schema: Any) -> bool:
    """Whether the schema is small and has no keyword but the `PLAIN_KEYWORDS`."""
    if size_of(schema, PLAIN_SIZE_MAX) > PLAIN_SIZE_MAX:
        return False
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, bool):
            continue
        if not isinstance(node, Mapping) or not node.keys() <= PLAIN_KEYWORDS:
            return False
        properties = node.get("properties", {})
        if not isinstance(properties, Mapping):
            return False
        left += properties.values()
        left += [node[name] for name in ("items", "additionalProperties") if name in node]
    return True


def _check_bounds(schema: Any, at: Location) -> None:
    if not isinstance(schema, Mapping | bool):
        raise fault_at(at, PydanticCustomError("invalid_schema", OBJECT_OR_BOOLEAN), schema)
    for location, node in _nodes(schema, at):
        if not isinstance(node, Mapping) or not _is_schema(location[len(at) :]):
            continue
        for keyword in REFERENCES:
            target = node.get(keyword)
            if isinstance(target, str) and not target.startswith("#"):
                fault = PydanticCustomError(
                    "remote_reference", "must refer to a place within the schema (#…)"
                )
                raise fault_at((*location, keyword), fault, target)
    if len(json.dumps(schema)) > SCHEMA_CHARS_MAX:
        fault = PydanticCustomError(
            "schema_too_large",
            "must be at most {most} characters long",
            {"most": SCHEMA_CHARS_MAX},
        )
        raise fault_at(at, fault, None)


def _nodes(schema: Any, at: Location) -> Iterator[tuple[Location, Any]]:
    """Every value in the schema with its location; raises where it is nested too deeply."""
    waiting: list[tuple[Location, Any]] = [(at, schema)]
    while waiting:
        location, node = waiting.pop()
        if len(location) - len(at) > SCHEMA_DEPTH_MAX:
            fault = PydanticCustomError(
                "schema_too_deep",
                "must be nested at most {most} levels deep",
                {"most": SCHEMA_DEPTH_MAX},
            )
            raise fault_at(at, fault, None)
        yield location, node
        if isinstance(node, Mapping):
            waiting += [((*location, str(key)), child) for key, child in node.items()]
        elif isinstance(node, list):
            waiting += [((*location, index), child) for index, child in enumerate(node)]


def _is_schema(location: Location) -> bool:
    """Whether an object at the location is read as a schema, and not as data or as names."""
    names_follow = False
    for step in location:
        if not names_follow and step in DATA_KEYWORDS:
            return False
        names_follow = not names_follow and step in NAMED_SCHEMAS
    return not names_follow


def _refuse_retrieval(uri: str) -> Any:
    raise ValueError(f"{uri} is outside of the schema")


def _description(error: jsonschema_rs.ValidationError) -> str:
    location = "".join(f"/{step}" for step in error.instance_path) or "/"
    return f"{location}: {shortened(error.message)}"
