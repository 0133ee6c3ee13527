"""The cost page shows what `bin/cost` measured, and a smaller day still comes out so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import median

import pytest

from assay.calibration.figures import exact_share_interval
from replay.cost import (
    BEGIN,
    CASCADE,
    CHEAP_ALONE,
    CONFIDENCE,
    DEAR_ALONE,
    END,
    EVERYTHING,
    LONG,
    PAGE,
    RATIO_MAX,
    RESULTS,
    Run,
    found_wrong,
    measured,
    written,
)
from replay.day import PROMPTS, votes
from replay.recordings import DATA

FIGURES = json.loads(RESULTS.read_text())
TABLES = [{row["name"]: row for row in table["rows"]} for table in FIGURES["tables"]]
GOAL = 0.4
"""Of the dear judge's bill, at its agreement with people."""
NEEDS_DATA = pytest.mark.skipif(not DATA.exists(), reason="ASSAY_DATA has no recorded data")


def test_the_tables_are_the_recorded_result():
    """Nobody edited them by hand."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == written(FIGURES)


def test_the_day_costs_half_at_the_most_and_the_same_judge_says_the_same():
    """What the page promises; savings that ask the same judge the same things change nothing."""
    assert FIGURES["ratio"] <= RATIO_MAX
    assert not any(rows[name]["differing"] for rows in TABLES for name in LONG if name in rows)


def test_the_page_says_where_the_goal_is_reached():
    """By shared calls in jobs; by a cascade on natural pairs in both orders alone."""
    *one_order, natural, adversarial, long = TABLES
    assert all(rows[EVERYTHING]["share"] <= GOAL for rows in (*one_order, long))
    cascade = natural["cascade and batch API"]
    assert cascade["share"] <= GOAL
    assert cascade["difference"][1] < 0 < cascade["difference"][2]
    lost, _ = cascade["changes"]
    assert round(exact_share_interval(lost, 100, CONFIDENCE)[1], 3) == 0.054
    missed = [rows["cascade, shared calls and batch API"] for rows in one_order]
    missed += [adversarial["cascade and batch API"], *(rows[CHEAP_ALONE] for rows in TABLES[:-1])]
    assert all(row["difference"][2] < 0 for row in missed)


@NEEDS_DATA
def test_the_page_says_what_other_prompts_of_the_cheap_judge_give():
    """Of 100 natural pairs, how many agree with people, by two prompts of ChatGPT in a cascade."""

    def agreed(prompts: Sequence[str]) -> int:
        right = 0
        for _, pair in votes("Natural"):
            cheap = {said for prompt in prompts for said in pair["votes"]["ChatGPT"][prompt]}
            dear = set(pair["votes"]["GPT-4"][PROMPTS[-1]])
            right += (cheap if len(cheap) == 1 else dear) == {str(pair["label"])}
        return right

    _, pair = votes("Natural")[0]
    found = sorted(map(agreed, combinations(pair["votes"]["ChatGPT"], 2)))
    assert (len(found), found[0], median(found), found[-1]) == (28, 88, 93, 95)
    assert TABLES[2]["cascade"]["agreement"][0] == agreed(PROMPTS[-2:]) / 100


def test_only_another_judge_may_say_otherwise():
    """A verdict that a saving changed is a fault, and so are another bill and another way."""

    def judged(verdict: str, counted_usd: float = 1.0, astray: int = 0) -> Run:
        return Run(1.0, counted_usd, Counter(), astray, {"p1/a": verdict})

    runs = {DEAR_ALONE: judged("1"), CHEAP_ALONE: judged("2"), CASCADE: judged("2")}
    in_jobs = "cascade and batch API"
    assert not list(found_wrong({**runs, EVERYTHING: judged("1"), in_jobs: judged("2")}))
    wrong = {EVERYTHING: judged("2"), in_jobs: judged("1", 1.1, 3)}
    assert list(found_wrong({**runs, **wrong})) == [
        f"{EVERYTHING}: 1 verdicts differ",
        f"{in_jobs}: 1 verdicts differ",
        f"{in_jobs}: charged 1.0000, counted 1.1000",
        f"{in_jobs}: 3 calls did not go by their service",
    ]


@NEEDS_DATA
async def test_a_smaller_day_comes_out_alike():
    """Through real batches: the service counts the server's bill, and the cache is read."""
    figures, faults = await measured(every=40, kinds=("Natural",))
    assert not faults
    one_order, _, long = ({row["name"]: row for row in each["rows"]} for each in figures["tables"])
    assert long["prefix cache"]["read"] == 3 * long["prefix cache"]["write"] > 0
    assert long["batch API"]["write"] == 0
    assert long["batch API, marked prefixes*"]["write"] > 0
    assert one_order["shared calls"]["calls"] * 4 == one_order[DEAR_ALONE]["calls"]
    assert one_order[CHEAP_ALONE]["share"] < one_order[DEAR_ALONE]["share"]
    assert len(one_order[DEAR_ALONE]["agreement"]) == 3
