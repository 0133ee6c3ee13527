"""All criteria; importing this package registers every family."""

from assay.evaluation.criteria import json_schema, judged, numeric, openai, text
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
    "json_schema",
    "judged",
    "numeric",
    "openai",
    "parse_criteria",
    "text",
]
