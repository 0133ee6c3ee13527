"""Answers that were written to mislead the reader: how many of them still do.

The bounds are what the reader reached. They only ever go down: the aim for what is invented is 0.
"""

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
INVENTED_MAX = {"prose": 113, "structured": 5, "marked": 0, "form": 5}
LOST_MAX = 82


def test_no_more_answers_mislead_the_reader_than_did():
    """Invented: another value than a careful person takes, by the way in which it was read."""
    invented = dict.fromkeys(INVENTED_MAX, 0)
    lost = 0
    for row in json.loads(CASES.read_text()):
        scale = SCALES.get(row["scale"]) or getattr(scales, row["scale"])
        protocol = Protocol("7f3a", tuple(row.get("forms", ())))
        found = reading(row["text"], scale, row.get("finish", "stop"), protocol)
        if found is None:
            lost += row["want"] is not None
        elif found.value != row["want"]:
            invented[found.method.partition(":")[0]] += 1
    assert {way: count for way, count in invented.items() if count > INVENTED_MAX[way]} == {}, (
        invented
    )
    assert lost <= LOST_MAX
