"""All criteria; importing this package registers every family."""

from assay.evaluation.criteria import (
    counts,
    json_schema,
    judged,
    numeric,
    openai,
    pattern,
    text,
)
from assay.evaluation.criteria.parsing import (
    CRITERIA_MAX,
    AnyCriterion,
    CriteriaField,
    parse_criteria,
)
from assay.evaluation.criteria.registry import CRITERIA

__all__ = [
    "CRITERIA",
    "CRITERIA_MAX",
    "AnyCriterion",
    "CriteriaField",
    "counts",
    "json_schema",
    "judged",
    "numeric",
    "openai",
    "parse_criteria",
    "pattern",
    "text",
]
