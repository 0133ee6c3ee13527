"""All criteria; importing this package registers every family."""

from assay.evaluation.criteria import (
    counts,
    formats,
    json_schema,
    judged,
    language,
    numeric,
    openai,
    pattern,
    retrieval,
    similarity,
    similarity_ngram,
    text,
    text_similarity,
    tools,
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
    "formats",
    "json_schema",
    "judged",
    "language",
    "numeric",
    "openai",
    "parse_criteria",
    "pattern",
    "retrieval",
    "similarity",
    "similarity_ngram",
    "text",
    "text_similarity",
    "tools",
]
