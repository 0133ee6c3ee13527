"""OpenAI's multi grader: a formula over the scores of other graders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Finding
from assay.criteria.composite.compound import Compound
from assay.criteria.composite.formula import FORMULA_CHARS_MAX, Formula
from assay.criteria.deterministic.python import Python
from assay.criteria.deterministic.string_check import StringCheck
from assay.criteria.deterministic.text_similarity import TextSimilarity
from assay.criteria.judged.openai_graders import LabelModel, ScoreModel
from assay.criteria.locations import fault_at
from assay.criteria.number_range import InRange
from assay.criteria.registry import criterion
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import CriterionResult
from assay.domain.expressions import ExpressionError

GRADERS_MAX = 32

Grader = Annotated[
    StringCheck | TextSimilarity | ScoreModel | LabelModel | Python, Field(discriminator="type")
]


@criterion
class Multi(InRange, Compound):
    """OpenAI's multi grader: `calculate_output` over the scores of `graders`.

    The formula has numbers, the names of graders, `+ - * / ^` and min, max, abs, floor, ceil, exp,
    sqrt and log. A grader counts with its own number: a score model's within its range, 1 or 0 of
    a label model. `value` is the formula's; the score is its place in `range`, and it is unscored
    where a grader is, or where the formula has no finite value. Source:
    https://developers.openai.com/api/docs/guides/graders.
    """

    family: ClassVar[str] = "program"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "Paris",
        "reference": "paris",
        "criteria": [
            {
                "type": "multi",
                "graders": {
                    "exact": {
                        "type": "string_check",
                        "input": "{{sample.output_text}}",
                        "reference": "{{item.reference}}",
                        "operation": "ilike",
                    },
                    "close": {"type": "text_similarity", "evaluation_metric": "fuzzy_match"},
                },
                "calculate_output": "0.5 * exact + 0.5 * close",
            }
        ],
    }

    type: Literal["multi"]
    graders: dict[str, Grader] = Field(min_length=1, max_length=GRADERS_MAX)
    calculate_output: str = Field(min_length=1, max_length=FORMULA_CHARS_MAX)

    @field_validator("graders", mode="before")
    @classmethod
    def _by_name(cls, graders: Any) -> Any:
        """One grader, or several in a list, as OpenAI's own schema and examples have them."""
        if isinstance(graders, Mapping) and isinstance(graders.get("type"), str):
            graders = [graders]
        if not isinstance(graders, list):
            return graders
        names = [one.get("name") if isinstance(one, Mapping) else None for one in graders]
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise PydanticCustomError("grader_names", "the graders must have names that differ")
        return dict(zip(names, graders, strict=True))

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            self.formula()
        except ExpressionError as error:
            fault = PydanticCustomError("formula", "{fault}", {"fault": str(error)})
            raise fault_at(("calculate_output",), fault, self.calculate_output) from None
        return self

    def formula(self) -> Formula:
        """The formula; raises `ExpressionError`."""
        return Formula.parse(self.calculate_output, self.graders)

    @property
    def parts(self) -> Mapping[str, Grader]:
        return self.graders

    def combine(self, results: Mapping[str, CriterionResult]) -> Finding:
        scores = {name: own_number(result) for name, result in results.items()}
        try:
            value = self.formula().value(scores)
        except ExpressionError as error:
            raise NotApplicable("check_error", f"The formula {error}.") from None
        shown = ", ".join(f"{name} {score:g}" for name, score in scores.items())
        return self.number_finding(value, f"{value:g} from {shown}")


def own_number(result: CriterionResult) -> float:
    """The number that a scored grader gave, on its own scale."""
    own = result.value if result.type in ("score_model", "python", "multi") else result.score
    return float(own or 0.0)
