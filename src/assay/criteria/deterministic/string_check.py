"""OpenAI's string check grader, in OpenAI's own form."""

from __future__ import annotations

from typing import ClassVar, Literal

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import binary_finding, quoted
from assay.criteria.deterministic.normalization import TEXT_WORK_MAX, comparable
from assay.criteria.placeholders import TemplateText, fill, template_work
from assay.criteria.registry import criterion
from assay.domain.evaluation import Case


@criterion
class StringCheck(Check):
    """OpenAI's string check: 1 where `operation` holds between `input` and `reference`, else 0.

    `eq` and `ne` compare whole texts; `like` and `ilike` test whether the reference occurs in the
    input, `ilike` without regard to case. Both fields are templates. Source:
    https://developers.openai.com/api/docs/guides/graders.
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
    input: TemplateText = "{{sample.output_text}}"
    reference: TemplateText = "{{item.reference}}"
    operation: Literal["eq", "ne", "like", "ilike"]
    inline_work_max: ClassVar[int] = TEXT_WORK_MAX

    def work(self, size: int, case: Case) -> float:
        return template_work(size, case, self.input, self.reference)

    def check(self, case: Case) -> Finding:
        ignore_case = self.operation == "ilike"
        text = comparable(fill(self.input, case), ignore_case=ignore_case)
        reference = comparable(fill(self.reference, case), ignore_case=ignore_case)
        if self.operation in ("eq", "ne"):
            related, verb = text == reference, "equal"
        else:
            related, verb = reference in text, "contain"
        relation = f"{verb}s" if related else f"does not {verb}"
        holds = related is not (self.operation == "ne")
        return binary_finding(holds, f"the input {relation} {quoted(reference)}")
