"""Whether the output is JSON that conforms to a JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, Literal

import jsonschema_rs
from pydantic import Field, ValidationError, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from assay.criteria.base import Check, Finding
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

SCHEMA_CHARS_MAX = 100_000
SCHEMA_DEPTH_MAX = 64
FAULTS_MAX = 5
LISTED_CHARS_MAX = 16_384
"""The library finds all faults at once, 15 µs each: of a longer output only the first is named."""
INLINE_WORK_MAX = 1_500_000
"""Characters of schema times characters of output, checked in about 3 ms where each keyword
meets each value."""
PATTERN_BYTES_MAX = 1024 * 1024
TOO_DEEP = "the output is nested too deeply to be checked"
MESSAGE_CHARS_MAX = 200

Place = tuple[int | str, ...]
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


@criterion
class JsonSchema(Check):
    """1 where the output is JSON that the schema accepts, else 0; the explanation lists the faults.

    The output is parsed strictly (RFC 8259: no NaN, no trailing text); `allow_fence` also
    accepts a single ```json block. The schema's `$ref`s must stay within it. Drafts 4 to
    2020-12, the latter by default. Source: https://json-schema.org/specification.
    """

    family: ClassVar[str] = "format"
    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": '{"city": "Paris"}',
        "criteria": [
            {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                },
            }
        ],
    }

    type: Literal["json_schema"]
    schema_: Mapping[str, Any] | bool = Field(alias="schema", description="The JSON Schema.")
    allow_fence: bool = Field(default=False, description="Accept the JSON in a ```json block.")

    @field_validator("schema_", mode="before")
    @classmethod
    def _bounded(cls, schema: Any) -> Any:
        for place, node in _nodes(schema):
            _refuse_remote(place, node)
        if len(json.dumps(schema)) > SCHEMA_CHARS_MAX:
            raise PydanticCustomError(
                "schema_too_large", "longer than {most} characters", {"most": SCHEMA_CHARS_MAX}
            )
        return schema

    @field_validator("schema_")
    @classmethod
    def _valid(cls, schema: Mapping[str, Any] | bool) -> Mapping[str, Any] | bool:
        try:
            _validator(schema)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            message = getattr(error, "message", None) or str(error)
            raise PydanticCustomError(
                "invalid_schema",
                "not a valid JSON Schema: {message}",
                {"message": message.splitlines()[0][:MESSAGE_CHARS_MAX]},
            ) from None
        return schema

    def inline_chars(self) -> int:
        """None where the schema has references: each may double the work of the one before it,
        so that a short schema can take for ever, and only a worker can be stopped."""
        refers = any(
            isinstance(node, Mapping) and not node.keys().isdisjoint(REFERENCES)
            for _, node in _nodes(self.schema_)
        )
        if refers:
            return 0
        chars = len(json.dumps(self.schema_))
        return min(self.inline_chars_max, chars + INLINE_WORK_MAX // chars)

    def check(self, case: Case) -> Finding:
        text = output_text(case)
        if self.allow_fence:
            text = unfenced(text)
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except RecursionError:
            raise NotApplicable("check_error", TOO_DEEP) from None
        except ValueError as error:
            return Finding(score=0.0, value=False, explanation=f"not valid JSON: {error}")
        faults = _faults(_validator(self.schema_), value, all_of_them=len(text) <= LISTED_CHARS_MAX)
        if faults:
            return Finding(score=0.0, value=False, explanation="; ".join(faults))
        return Finding(score=1.0, value=True, explanation="conforms to the schema")


def unfenced(text: str) -> str:
    """The inside of a text that is one ``` or ```json block, else the text."""
    block = text.strip()
    opening, _, inside = block.partition("\n")
    if opening.strip().lower() in ("```", "```json") and inside.endswith("```"):
        return inside.removesuffix("```")
    return text


def _validator(schema: Mapping[str, Any] | bool) -> Any:
    plain = schema if isinstance(schema, bool) else dict(schema)
    # The linear engine: the default one backtracks, and the schema is a stranger's.
    patterns = jsonschema_rs.RegexOptions(
        size_limit=PATTERN_BYTES_MAX, dfa_size_limit=PATTERN_BYTES_MAX
    )
    return jsonschema_rs.validator_for(plain, retriever=_no_retrieval, pattern_options=patterns)


def _faults(validator: Any, value: Any, *, all_of_them: bool) -> list[str]:
    """The first faults of a value; only the very first unless `all_of_them` are to be found."""
    try:
        if all_of_them:
            return [_described(each) for each in islice(validator.iter_errors(value), FAULTS_MAX)]
        validator.validate(value)
    except jsonschema_rs.ValidationError as fault:
        return [_described(fault)]
    except ValueError:
        raise NotApplicable("check_error", TOO_DEEP) from None
    return []


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"{uri} is outside of the schema")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refuse_remote(place: Place, node: Any) -> None:
    if not isinstance(node, Mapping):
        return
    for keyword in REFERENCES:
        target = node.get(keyword)
        if isinstance(target, str) and not target.startswith("#"):
            wrong = PydanticCustomError("remote_reference", "must stay within the schema: #…")
            details = InitErrorDetails(type=wrong, loc=(*place, keyword), input=target)
            raise ValidationError.from_exception_data("json_schema", [details])


def _nodes(schema: Any) -> Iterator[tuple[Place, Any]]:
    """Every value in the schema with its place; raises where it is nested too deeply."""
    waiting: list[tuple[Place, Any]] = [((), schema)]
    while waiting:
        place, node = waiting.pop()
        if len(place) > SCHEMA_DEPTH_MAX:
            raise PydanticCustomError(
                "schema_too_deep", "nested deeper than {most}", {"most": SCHEMA_DEPTH_MAX}
            )
        yield place, node
        if isinstance(node, Mapping):
            waiting += [((*place, str(key)), child) for key, child in node.items()]
        elif isinstance(node, list):
            waiting += [((*place, index), child) for index, child in enumerate(node)]


def _described(error: Any) -> str:
    place = "".join(f"/{step}" for step in error.instance_path) or "/"
    message = error.message
    cut = message if len(message) <= MESSAGE_CHARS_MAX else message[:MESSAGE_CHARS_MAX] + "…"
    return f"{place}: {cut}"
