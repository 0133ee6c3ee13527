"""The cases from the field, at the level of the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assay.domain.completion import Completion
from assay.domain.errors import ModelError
from assay.verdicts.reader import from_members, members
from assay.verdicts.scales import LabelScale, NumberScale
from unit.verdicts.scales import FACTS, PAIR, PASS_FAIL, RELATIONS, YES_NO, verdict

CASES = Path(__file__).parents[2] / "cases"
ROWS = [
    row
    for name in ("verdict-texts", "verdict-forms")
    for row in json.loads((CASES / f"{name}.json").read_text())
]
WHOLE_SPAN_MIN = 2
SIDES = {"a": "output", "b": "other", "tie": "tie"}


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_a_case_is_read_as_it_was_meant(row: dict[str, Any]):
    """The judge's words give the value that is right, or where it says so none."""
    assert said(row) in [row["want"], *row.get("also_right", [])]


def said(row: dict[str, Any]) -> Any:
    text, finish = row["judge_says"], "length" if row["finish"] == "length" else "stop"
    if row.get("comparison"):
        return verdict(text, PAIR, finish) or "unscored"
    criterion = row["criterion"]
    if criterion["type"] == "checklist":
        return checklist(text)
    found = verdict(text, scale_of(criterion), finish)
    if found is None:
        return "unscored"
    if criterion["type"] == "factuality":
        return "ABCDE"[RELATIONS.index(found)]
    return SIDES[found] if criterion["type"] == "pairwise" else found


def scale_of(criterion: dict[str, Any]) -> Any:
    match criterion["type"]:
        case "score" | "g_eval":
            low = criterion.get("min", 1 if criterion["type"] == "g_eval" else 0)
            high = criterion.get("max", 5 if criterion["type"] == "g_eval" else 1)
            whole = criterion.get("integer", high - low >= WHOLE_SPAN_MIN)
            return NumberScale(low, high, integer=whole)
        case "label":
            return LabelScale(tuple(criterion["labels"]))
        case kind:
            return {"rubric": PASS_FAIL, "boolean": YES_NO, "factuality": FACTS, "pairwise": PAIR}[
                kind
            ]


def checklist(text: str) -> str:
    completion = Completion(text, "stop", "fake", "judge")
    keys = ["item_1", "item_2"]
    try:
        found = members(completion, keys, "")
        for key in keys:
            from_members(found[key], YES_NO)
    except (ModelError, KeyError):
        return "unscored"
    return "scored"
