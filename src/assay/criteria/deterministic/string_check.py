"""OpenAI's string check grader, accepted as it is."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from assay.criteria.base import TEXT_CHARS_MAX, Check, Finding
from assay.criteria.deterministic.text import comparable, met, quoted
from assay.criteria.placeholders import checked, filled
from assay.criteria.registry import criterion
from assay.domain.evaluation import Case

Template = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]


@criterion
class StringCheck(Check):
    """OpenAI's string check: 1 where `input` stands in the relation to `reference`, else 0.

    `eq` and `ne` compare whole texts, `like` and `ilike` ask whether the reference occurs in the
    input, the latter without regard to case. Both fields are templates.
    """

    family: ClassVar[str] = "text"
    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "Paris",
        "reference": "Paris",
        "criteria": [
            {
                "type": "string_check",
                "input": "{{sample.output_text}}",
                "reference": "{{item.reference}}",
                "operation": "eq",
            }
        ],
    }

    type: Literal["string_check"]
    input: Template = "{{sample.output_text}}"
    reference: Template = "{{item.reference}}"
    operation: Literal["eq", "ne", "like", "ilike"]

    @field_validator("input", "reference")
    @classmethod
    def _fillable(cls, template: str) -> str:
        return checked(template)

    def check(self, case: Case) -> Finding:
        ignore_case = self.operation == "ilike"
        text = comparable(filled(self.input, case), ignore_case=ignore_case)
        reference = comparable(filled(self.reference, case), ignore_case=ignore_case)
        if self.operation in ("eq", "ne"):
            holds = (text == reference) is (self.operation == "eq")
        else:
            holds = reference in text
        return met(holds, f"{'' if holds else 'not '}{self.operation} {quoted(reference)}")
