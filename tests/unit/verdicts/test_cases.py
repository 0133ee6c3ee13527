"""The cases from the field: what a judge said to a criterion, and what must be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.criteria import parse_criteria
from assay.criteria.base import Judged
from assay.criteria.judged.preference import pair_question
from assay.domain.completion import Completion
from assay.domain.errors import ModelError
from assay.domain.evaluation import Case
from assay.verdicts.reader import PLAIN

CASES = Path(__file__).parents[2] / "cases"
ROWS = [
    row
    for name in ("verdict-texts", "verdict-forms")
    for row in json.loads((CASES / f"{name}.json").read_text())
]
FILL: dict[str, dict[str, Any]] = {
    "rubric": {"rubric": "r"},
    "boolean": {"question": "q"},
    "score": {"rubric": "r"},
    "label": {"question": "q"},
    "g_eval": {"criteria": "c"},
    "pairwise": {"rubric": "r"},
    "checklist": {"items": ["one", "two"]},
}
"""What the cases leave out."""
WINNERS = {"first": "a", "second": "b", "tie": "tie"}
SIDES = {"first": "output", "second": "other", "tie": "tie"}


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_a_case_is_read_as_it_was_meant(row: dict[str, Any]):
    """The judge's words give the value that is right, or where it says so none."""
    assert said(row) in [row["want"], *row.get("also_right", [])]


def said(row: dict[str, Any]) -> Any:
    if row.get("comparison"):
        question = pair_question("Which is better?", "one", "two")
    else:
        fields = row["criterion"]
        [criterion] = parse_criteria([{**FILL.get(fields["type"], {}), **fields}])
        assert isinstance(criterion, Judged)
        question = criterion.questions(Case("output", input="input", reference=("other",)))[0]
    finish: Any = "length" if row["finish"] == "length" else "stop"
    completion = Completion(row["judge_says"], finish, "fake", "judge")
    try:
        finding = question.read(completion, PLAIN).verdict
    except ModelError:
        return "unscored"
    if row.get("comparison"):
        return WINNERS[finding.value]
    match row["criterion"]["type"]:
        case "checklist":
            return "scored"
        case "pairwise":
            return SIDES[finding.value]
        case "score" | "g_eval" | "factuality":
            return finding.value
        case _:
            return finding.label
