"""The JSON Schema of a dataset, applied to many items at once where checks run."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import orjson

from assay.criteria.base import Finding
from assay.criteria.deterministic.json_schema import JsonSchema
from assay.criteria.deterministic.schema_validation import SchemaValidator
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case


class ItemSchema(JsonSchema):
    """Checks each line of the output, which is one item as JSON.

    It is no criterion of its own: `value` has the index of each faulty line with its first fault.
    """

    family: ClassVar[str] = "format"

    type: Literal["item_schema"] = "item_schema"  # type: ignore[assignment]

    def work(self, size: int, case: Case) -> float:
        return math.inf if self.compiles_late else super().work(size, case)

    def check(self, case: Case) -> Finding:
        validator = SchemaValidator(self.schema_, at=("schema",))
        faults: list[tuple[int, str]] = []
        for index, line in enumerate(output_text(case).split("\n")):
            document: Any = orjson.loads(line)
            if found := validator.faults(document):
                faults.append((index, found[0]))
        return Finding(1.0 if not faults else 0.0, value=faults)
