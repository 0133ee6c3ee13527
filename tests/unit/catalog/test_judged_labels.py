"""What calibration reads of a result."""

import math

import pytest

from assay.batches.calibrating import calibrated
from assay.calibration.options import ReportOptions
from assay.catalog.judged_labels import CriterionVerdicts, JudgedBatch


def pair(straight, swapped, **judge):
    """A result of both orders, with what was preferred in each: the first or the second text."""
    votes = [{"value": value, "passed": None} for value in (straight, swapped)]
    judge = {"model": "m", "score_method": "single", "agreement": None, "votes": votes, **judge}
    return {"name": "better", "type": "pairwise", "score": 0.5, "value": "tie", "judge": judge}


def flip_rate(*results):
    verdicts = CriterionVerdicts()
    for result in results:
        verdicts.add(result, [])
    judged = JudgedBatch(criteria={"better": verdicts})
    for place in range(len(results)):
        judged.places.append(place)
        judged.item_ids.append(str(place))
        judged.groups.append("")
    return calibrated(judged, ReportOptions())["criteria"][0]["flip_rate"]


def test_a_winner_that_changes_with_the_order_flips():
    """First in both orders is another text each time; first and then second is the same one."""
    flipped, same, tie = pair("first", "first"), pair("first", "second"), pair("tie", "tie")
    found = flip_rate(*[flipped] * 10, *[same] * 20, *[tie] * 10)
    assert found["value"] == pytest.approx(0.25)
    low, high = found["interval"]
    assert low < 0.25 < high


def test_an_order_without_a_verdict_says_nothing():
    """Nor do two votes on one order, or a result of another type."""
    other = {**pair("first", "first"), "type": "rubric"}
    for result in (pair("first", None), pair("first", "first", agreement=1.0), other, {}):
        verdicts = CriterionVerdicts()
        verdicts.add(result, [])
        assert math.isnan(verdicts.straight[0]) or math.isnan(verdicts.swapped[0])
    assert flip_rate(other) is None
