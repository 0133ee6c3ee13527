"""The cost page shows what `bin/cost` measured, and a smaller day still comes out so."""

from __future__ import annotations

import json

import pytest

from replay.cost import BEGIN, END, OFF, ON, PAGE, RATIO_MAX, RESULTS, SAVINGS, measured, written
from replay.recordings import DATA

FIGURES = json.loads(RESULTS.read_text())
NEEDS_DATA = pytest.mark.skipif(not DATA.exists(), reason="ASSAY_DATA has no recorded data")


def test_the_tables_are_the_recorded_result():
    """Nobody edited them by hand."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == written(FIGURES)


def test_the_day_costs_half_at_the_most_and_no_verdict_differs():
    """What the page promises; savings that ask the same judge the same things change nothing."""
    assert FIGURES["ratio"] <= RATIO_MAX
    assert [row["differing"] for row in FIGURES["day"]] == [0] * len(FIGURES["day"])
    dear, cascade, postponed = FIGURES["pairs"]
    assert postponed["usd_per_1000"] < cascade["usd_per_1000"] < dear["usd_per_1000"]
    assert cascade["agreement"] >= dear["agreement"]


@NEEDS_DATA
async def test_a_smaller_day_comes_out_alike():
    """Through real batches: the service counts the server's bill, and the cache is read."""
    figures, faults = await measured(every=40)
    assert not faults
    rows = {row["name"]: row for row in figures["day"]}
    assert rows["prefix cache"]["read"] == 3 * rows["prefix cache"]["write"] > 0
    assert rows["batch API"]["write"] == 0
    assert rows["batch API, marked prefixes*"]["write"] > 0
    assert rows[ON]["calls"] * 4 == rows[OFF]["calls"]
    assert list(SAVINGS) == list(rows)
