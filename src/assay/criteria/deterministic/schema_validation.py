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
from assay.domain.errors import NotApplicable

SCHEMA_CHARS_MAX = 100_000
SCHEMA_DEPTH_MAX = 64
PATTERN_BYTES_MAX = 1024 * 1024
INLINE_WORK_MAX = 1_500_000
"""Characters of schema times characters of value: about 3 ms where each keyword meets each
value."""
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
    backtracking one would let a caller's pattern stall the process. Raises `ValueError`, with a
    message for the caller, where the schema is not valid or exceeds a bound. Source:
    https://json-schema.org/specification.
    """

    def __init__(self, schema: Any) -> None:
        _check_bounds(schema)
        patterns = jsonschema_rs.RegexOptions(
            size_limit=PATTERN_BYTES_MAX, dfa_size_limit=PATTERN_BYTES_MAX
        )
        try:
            self._validator = jsonschema_rs.validator_for(
                schema, retriever=_refuse_retrieval, pattern_options=patterns
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            message = str(getattr(error, "message", None) or error).partition("\n")[0]
            raise PydanticCustomError(
                "invalid_schema",
                "is not a valid JSON Schema: {message}",
                {"message": shortened(message)},
            ) from None

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


def inline_chars_max(schema: Any) -> int:
    """How many characters of schema and value may be checked on the event loop.

    0 where the schema has references: each may double the work of the one before it, so a short
    schema can run for ever, and only a worker process can be stopped.
    """
    try:
        nodes = [node for _, node in _nodes(schema)]
    except PydanticCustomError:
        return 0
    if any(isinstance(node, Mapping) and not node.keys().isdisjoint(REFERENCES) for node in nodes):
        return 0
    chars = len(json.dumps(schema))
    return chars + INLINE_WORK_MAX // chars


def _check_bounds(schema: Any) -> None:
    if not isinstance(schema, Mapping | bool):
        raise PydanticCustomError("invalid_schema", "must be an object or a boolean")
    for location, node in _nodes(schema):
        if not isinstance(node, Mapping) or not _is_schema(location):
            continue
        for keyword in REFERENCES:
            target = node.get(keyword)
            if isinstance(target, str) and not target.startswith("#"):
                fault = PydanticCustomError(
                    "remote_reference", "must refer to a place within the schema (#…)"
                )
                raise fault_at((*location, keyword), fault, target)
    if len(json.dumps(schema)) > SCHEMA_CHARS_MAX:
        raise PydanticCustomError(
            "schema_too_large",
            "must be at most {most} characters long",
            {"most": SCHEMA_CHARS_MAX},
        )


def _nodes(schema: Any) -> Iterator[tuple[Location, Any]]:
    """Every value in the schema with its location; raises where it is nested too deeply."""
    waiting: list[tuple[Location, Any]] = [((), schema)]
    while waiting:
        location, node = waiting.pop()
        if len(location) > SCHEMA_DEPTH_MAX:
            raise PydanticCustomError(
                "schema_too_deep",
                "must be nested at most {most} levels deep",
                {"most": SCHEMA_DEPTH_MAX},
            )
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
