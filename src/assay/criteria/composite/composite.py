"""A formula over the results of other criteria, some of which are asked on a condition alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from assay.criteria.base import Criterion, Finding, Prose
from assay.criteria.composite.compound import Compound, condition_faults, facts_from, stated
from assay.criteria.composite.formula import FORMULA_CHARS_MAX, Formula, Undecided
from assay.criteria.composite.multi import GRADERS_MAX
from assay.criteria.locations import fault_at
from assay.criteria.registry import criterion
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import CriterionResult
from assay.domain.expressions import ExpressionError

ROUNDING = 1e-9
"""How far a formula may leave 0 to 1 by the rounding of its sums."""


def _criterion(value: Any, _schema: ValidatorFunctionWrapHandler) -> Criterion:
    from assay.criteria.parsing import parse_criterion  # noqa: PLC0415  # it knows all criteria

    return parse_criterion(value)


Part = Annotated[
    SerializeAsAny[Criterion],
    WrapValidator(_criterion),
    WithJsonSchema({"type": ["string", "object"], "description": "As in a request's `criteria`."}),
]


@criterion
class Composite(Compound):
    """A formula over other criteria, of which each may have a condition (`when`).

    `formula` has the names of `criteria`, which stand for their scores, numbers, `+ - * / ^`, min,
    max, abs, floor, ceil, exp, sqrt and log; comparisons, `and`, `or`, `not`, `a if b else c`; and
    the fields `score`, `passed`, `label`, `status` and `reason` of a name. What is true is 1, what
    is false 0. A criterion whose condition does not hold is skipped and costs nothing. Where the
    formula needs one that is skipped or unscored, so is the composite, for the same reason; where
    it has no value from 0 to 1, it is unscored. `value` has the results of all `criteria`.
    """

    family: ClassVar[str] = "program"
    default_threshold: ClassVar[float] = 0.5
    parts_field: ClassVar[str] = "criteria"
    example: ClassVar = {
        "input": "When does my parcel arrive?",
        "output": "On Monday.",
        "criteria": [
            {
                "type": "composite",
                "criteria": {
                    "short": {"type": "word_count", "max": 50},
                    "relevant": {"type": "answer_relevancy", "when": "short.passed"},
                },
                "formula": "relevant if short.passed else 0",
            }
        ],
    }

    type: Literal["composite"]
    criteria: dict[Annotated[str, Field(min_length=1, max_length=200)], Part] = Field(
        min_length=1,
        max_length=GRADERS_MAX,
        description="The criteria by name. A `when` in one speaks of the others here.",
    )
    formula: Prose = Field(
        max_length=FORMULA_CHARS_MAX,
        description="The score, such as `0.7 * relevant + 0.3 * polite.passed`.",
    )

    @field_validator("criteria", mode="before")
    @classmethod
    def _few(cls, criteria: Any) -> Any:
        """Counted before anything inside is read, however deep it lies."""
        left, count = [criteria], 0
        while left and count <= GRADERS_MAX:
            inner = left.pop()
            parts = list(inner.values()) if isinstance(inner, Mapping) else []
            count += len(parts)
            for part in parts:
                if isinstance(part, Mapping):
                    left += [part.get("criteria"), part.get("graders")]
        if count > GRADERS_MAX:
            raise PydanticCustomError(
                "too_many_parts",
                "must have at most {most} criteria, with those inside them",
                {"most": GRADERS_MAX},
            )
        return criteria

    @field_validator("criteria")
    @classmethod
    def _named(cls, criteria: dict[str, Criterion]) -> dict[str, Criterion]:
        return {name: part.model_copy(update={"name": name}) for name, part in criteria.items()}

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for name, part in self.criteria.items():
            for field in ("weight", "required"):
                if getattr(part, field) != type(part).model_fields[field].default:
                    fault = PydanticCustomError("idle", "has no effect here: the formula decides")
                    raise fault_at(("criteria", name, field), fault, getattr(part, field))
        for name, fault in condition_faults(self.criteria).items():
            raise fault_at(("criteria", name, "when"), fault, self.criteria[name].when)
        try:
            self._parsed.check_varies()
        except ExpressionError as error:
            fault = PydanticCustomError("formula", "{fault}", {"fault": str(error)})
            raise fault_at(("formula",), fault, self.formula) from None
        return self

    @property
    def _parsed(self) -> Formula:
        return Formula.parse(self.formula, self.criteria, plain=False)

    @property
    def parts(self) -> Mapping[str, Criterion]:
        return self.criteria

    def needed(self, results: Mapping[str, CriterionResult]) -> Collection[str]:
        try:
            self._parsed.value(facts_from(results))
        except Undecided as error:
            return (error.name,)
        except ExpressionError:
            pass  # `combine` says why
        return ()

    def combine(self, results: Mapping[str, CriterionResult]) -> Finding:
        try:
            value = self._parsed.value(facts_from(results))
        except ExpressionError as error:
            raise NotApplicable("check_error", f"The formula {error}.") from None
        score = min(1.0, max(0.0, value))
        if abs(value - score) > ROUNDING:
            raise NotApplicable("check_error", f"The formula gives {value:g}, not 0 to 1.")
        shown = ("status", "score", "passed", "label", "value", "reason", "explanation")
        return Finding(
            score,
            value={
                name: {field: getattr(result, field) for field in shown}
                for name, result in results.items()
            },
            explanation=f"{score:g} from {stated(results)}",
        )
