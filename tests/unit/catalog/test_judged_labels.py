"""Verdicts beside labels, as columns."""

import math

from assay.catalog.judged_labels import CriterionVerdicts


def test_a_value_whose_square_overflows_is_missing():
    """No figure can be computed from it, so that its row counts as one without a value."""
    verdicts = CriterionVerdicts()
    for value in (1e308, -1e308, 10**400, 1e99):
        verdicts.add({"value": value, "score": 1.0, "passed": True}, [])
    assert [math.isnan(value) for value in verdicts.values] == [True, True, True, False]
    assert list(verdicts.scores) == [1.0] * 4
