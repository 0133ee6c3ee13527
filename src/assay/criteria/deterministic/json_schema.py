"""Whether the output is JSON that conforms to a JSON Schema."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import binary_finding
from assay.criteria.deterministic.normalization import parse_json, without_fence
from assay.criteria.deterministic.schema_validation import SchemaValidator, is_plain
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

FAULTS_MAX = 5
ALL_FAULTS_CHARS_MAX = 16_384
"""Only the first fault of a longer output is named: it may have one in each character."""


@criterion
class JsonSchema(Check):
    """1 where the output is JSON that the schema accepts, else 0; the explanation lists the faults.

    The output is parsed strictly (RFC 8259: no NaN, no trailing text); `allow_fence` also
    accepts a single ``` code block. The schema's `$ref`s must stay within it. Drafts 4 to
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

    inline_work_max: ClassVar[int] = 2_000
    """Half of it is schema and half value at the worst, so a million steps of about 2 ns."""

    type: Literal["json_schema"]
    schema_: Mapping[str, Any] | bool = Field(alias="schema", description="The JSON Schema.")
    allow_fence: bool = Field(default=False, description="Accept the JSON in a ``` code block.")

    @property
    def compiles_late(self) -> bool:
        return not is_plain(self.schema_)

    def compile(self) -> None:
        SchemaValidator(self.schema_, at=("schema",))

    def work(self, size: int, case: Case) -> float:
        del case
        return math.inf if self.compiles_late else size

    def check(self, case: Case) -> Finding:
        text = output_text(case)
        if self.allow_fence:
            text = without_fence(text)
        try:
            value = parse_json(text)
        except ValueError as error:
            return binary_finding(False, f"not valid JSON: {error}")
        faults_max = FAULTS_MAX if len(text) <= ALL_FAULTS_CHARS_MAX else 1
        faults = SchemaValidator(self.schema_).faults(value, faults_max)
        return binary_finding(not faults, "; ".join(faults) or "conforms to the schema")
