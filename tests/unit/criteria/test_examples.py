"""Every criterion of these families shows an example, and the example is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from assay.criteria import (
    formats,
    language,
    readability,
    retrieval,
    similarity,
    text_similarity,
    tools,
)
from assay.criteria.base import Check
from assay.criteria.registry import CRITERIA
from assay.domain.evaluation import Case
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from fakes.recorded_events import RecordedEvents

MODULES = (formats, language, readability, retrieval, similarity, text_similarity, tools)
FAMILIES = {module.__name__ for module in MODULES}
OURS = {name: cls for name, cls in CRITERIA.items() if cls.__module__ in FAMILIES}


def case_of(request: Mapping[str, Any]) -> Case:
    """The case of a request in the contract's shape."""

    def several(field: str) -> tuple[Any, ...]:
        given = request.get(field, ())
        return (given,) if isinstance(given, str) else tuple(given)

    output = request["output"]
    return Case(
        output=output if isinstance(output, str) else tuple(output),
        reference=several("reference"),
        context=several("context"),
        tools=several("tools"),
        expected_tools=several("expected_tools"),
    )


def test_all_types_of_these_families_are_registered():
    """The catalogue contains every type of these families."""
    assert set(OURS) == {
        *("json", "xml", "html", "sql", "language", "readability"),
        *("text_similarity", "levenshtein", "token_f1", "chrf"),
        *("precision_at_k", "recall_at_k", "ndcg", "mrr"),
        *("tool_call_valid", "tool_call_f1", "trajectory", "step_count"),
    }


@pytest.mark.parametrize("name", OURS)
async def test_an_example_gives_what_it_promises(name):
    """The example, run in a sandbox pool, gives the score and verdict of `example_result`."""
    cls = OURS[name]
    [fields] = cls.example["criteria"]
    check = cls.model_validate(fields)
    assert isinstance(check, Check)
    sandbox = SandboxPool(RecordedEvents())
    try:
        finding = await sandbox.run(check, case_of(cls.example), Deadline.after(30))
    finally:
        await sandbox.aclose()
    promised = cls.example_result
    assert finding.score == pytest.approx(promised["score"], abs=0.005)
    threshold = cls.default_threshold if check.threshold is None else check.threshold
    assert (finding.score >= threshold) is promised["passed"]
    assert finding.explanation


@pytest.mark.parametrize("name", OURS)
def test_a_criterion_says_what_it_measures(name):
    """Each class has a docstring, a family and a schema that the catalogue can print."""
    cls = OURS[name]
    assert cls.__doc__
    assert cls.family in {"format", "similarity", "retrieval", "tools"}
    assert "type" in cls.model_json_schema()["properties"]
