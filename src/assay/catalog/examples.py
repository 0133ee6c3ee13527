"""Examples of an evaluator: cases with what is expected of its verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field

from assay.criteria.frozen import Frozen
from assay.domain.evaluation import CriterionResult, Evaluation


class Expected(Frozen):
    """What is expected of one criterion."""

    passed: bool | None = None
    label: str | None = None
    score_min: float | None = Field(default=None, ge=0, le=1)
    score_max: float | None = Field(default=None, ge=0, le=1)

    def fault(self, result: CriterionResult) -> str | None:
        """What is wrong with a scored result, in words."""
        if self.passed is not None and result.passed is not self.passed:
            return "passed" if result.passed else "did not pass"
        if self.label is not None and result.label != self.label:
            return f"has the label {result.label!r}, not {self.label!r}"
        score = result.score if result.score is not None else float("nan")
        if self.score_min is not None and not score >= self.score_min:
            return f"scored {score:g}, below {self.score_min:g}"
        if self.score_max is not None and not score <= self.score_max:
            return f"scored {score:g}, above {self.score_max:g}"
        return None


def faults(expected: Mapping[str, Expected], evaluation: Evaluation) -> Iterator[str]:
    """What differs from the expectations; a criterion without a verdict meets none."""
    results = {result.name: result for result in evaluation.results}
    for name, expectation in expected.items():
        result = results[name]
        if result.status != "scored":
            yield f"{name}: {result.status}, {result.reason}"
        elif fault := expectation.fault(result):
            yield f"{name}: {fault}"
