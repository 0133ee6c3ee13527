"""From a finding, or the lack of one, to the score that the caller reads."""

from __future__ import annotations

import math
from dataclasses import replace

from assay.criteria.base import Criterion, Finding
from assay.domain.errors import Reason
from assay.domain.evaluation import CriterionResult

FAILED_CHECK = "the check itself failed"
"""All that a caller learns of an unexpected error: its own text could hold anything."""


def scored(criterion: Criterion, finding: Finding) -> CriterionResult:
    """The score of a finding; a score that is no number from 0 to 1 is a failed check."""
    if not (math.isfinite(finding.score) and 0.0 <= finding.score <= 1.0):
        return unscored(criterion, "check_error", FAILED_CHECK)
    bar = criterion.passing_score()
    passed = finding.score >= bar if finding.passed is None else finding.passed
    return replace(
        _blank(criterion),
        status="scored",
        score=1.0 - finding.score if criterion.negate else finding.score,
        value=finding.value,
        label=finding.label,
        passed=not passed if criterion.negate else passed,
        explanation=finding.explanation,
    )


def unscored(criterion: Criterion, reason: Reason, explanation: str) -> CriterionResult:
    return replace(_blank(criterion), status="unscored", reason=reason, explanation=explanation)


def skipped(criterion: Criterion) -> CriterionResult:
    return replace(
        _blank(criterion),
        status="skipped",
        reason="required_check_failed",
        explanation="a required check failed, so no judge was asked",
    )


def _blank(criterion: Criterion) -> CriterionResult:
    return CriterionResult(
        name=criterion.name or criterion.type,
        type=criterion.type,
        status="unscored",
        threshold=criterion.passing_score(),
        weight=criterion.weight,
    )
