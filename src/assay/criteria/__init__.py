"""All criteria; importing this package registers every family."""

from assay.criteria import embedded, http
from assay.criteria.composite import composite, multi
from assay.criteria.deterministic import (
    counts,
    formats,
    json_schema,
    language,
    numeric,
    python,
    readability,
    regex,
    retrieval,
    similarity,
    string_check,
    text,
    text_similarity,
    tools,
)
from assay.criteria.judged import (
    checklist,
    g_eval,
    openai_graders,
    pairwise,
    primitives,
    question_answering,
    ready_made,
)
from assay.criteria.parsing import (
    CRITERIA_MAX,
    AnyCriterion,
    CriteriaField,
    parse_criteria,
)
from assay.criteria.registry import CRITERIA

__all__ = [
    "CRITERIA",
    "CRITERIA_MAX",
    "AnyCriterion",
    "CriteriaField",
    "checklist",
    "composite",
    "counts",
    "embedded",
    "formats",
    "g_eval",
    "http",
    "json_schema",
    "language",
    "multi",
    "numeric",
    "openai_graders",
    "pairwise",
    "parse_criteria",
    "primitives",
    "python",
    "question_answering",
    "readability",
    "ready_made",
    "regex",
    "retrieval",
    "similarity",
    "string_check",
    "text",
    "text_similarity",
    "tools",
]
