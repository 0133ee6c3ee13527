"""The moving average of a series."""

from __future__ import annotations

import pytest

from assay.domain.moving_average import MovingAverage


def test_the_first_value_is_the_mean_and_later_ones_move_it():
    """Before the first value the mean is 0; a tenth of each distance is made up."""
    average = MovingAverage(0.1)
    assert average.value == 0.0
    average.add(10.0)
    assert average.value == 10.0
    average.add(20.0)
    assert average.value == pytest.approx(11.0)


def test_a_prior_is_moved_by_the_first_value():
    """What is assumed counts as much as what was measured before."""
    average = MovingAverage(0.1, 1.0)
    average.add(2.0)
    assert average.value == pytest.approx(1.1)
