"""Answers that were written to mislead the reader: none of them does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assay.verdicts.reader import Protocol
from assay.verdicts.scales import LabelScale
from unit.verdicts import scales
from unit.verdicts.scales import reading

CASES = Path(__file__).parents[2] / "cases" / "misleading-verdicts.json"
SCALES: dict[str, Any] = {
    "CORR": LabelScale(("correct", "partly correct", "incorrect")),
    "GR": LabelScale(("A+", "A", "B", "C")),
    "REL": LabelScale(("relevant", "irrelevant", "somewhat relevant")),
    "TOX": LabelScale(("toxic", "not toxic")),
    "SENT": LabelScale(("positive", "negative", "neutral")),
}
LOST_MAX = 41
"""Verdicts that a careful person would take and the reader leaves; it only ever goes down."""


def test_no_answer_misleads_the_reader():
    """Invented is a value that a careful person would not take from the text."""
    invented = []
    lost = 0
    for row in json.loads(CASES.read_text()):
        scale = SCALES.get(row["scale"]) or getattr(scales, row["scale"])
        protocol = Protocol("7f3a", tuple(row.get("forms", ())))
        found = reading(row["text"], scale, row.get("finish", "stop"), protocol)
        if found is None:
            lost += row["want"] is not None
        elif found.value != row["want"]:
            invented.append((row["text"], found.value))
    assert invented == []
    assert lost <= LOST_MAX
