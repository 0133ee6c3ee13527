"""Rankings: adaptive rounds over the real comparer, and what ends them early."""

from __future__ import annotations

import asyncio
import json
import math
import random

import pytest

from assay.catalog.rankings import AT_ONCE, RankingItem, RankingSpec, rank
from assay.domain.comparison import Comparison, ComparisonOutcome, OrderVerdict
from assay.domain.completion import NO_USAGE
from assay.domain.errors import DeadlineExceeded, ProviderDown, RequestError
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.policy import Deadline
from assay.domain.tenants import OpenGate, TenantLimited
from assay.evaluation.comparer import Comparer
from assay.screening import Screener
from fakes.engine import CALLER, NO_FETCHES, comparer
from fakes.judges import COST_USD, FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents


def by_strength(strengths, seed=0, order=0.0):
    """A judge who prefers outputs by their systems' strengths, with chance and an order effect."""
    rng = random.Random(seed)

    def answer(prompt):
        text = prompt.turns[1].text
        at = sorted((text.index(f"<{name}>"), name) for name in strengths if f"<{name}>" in text)
        first, second = (strengths[name] for _, name in at)
        chance = 1 / (1 + math.exp(-(first - second + order)))
        return json.dumps({"reasoning": "so", "verdict": "a" if rng.random() < chance else "b"})

    return answer


def items(count, *names, same=()):
    return [
        RankingItem(
            f"i{n}",
            Case("", input=f"question {n}"),
            {name: "same" if name in same else f"<{name}> says {n}" for name in names},
        )
        for n in range(count)
    ]


async def ranked(model, rows, *, judge=None, seconds=30, with_comparer=None, **fields):
    spec = RankingSpec(
        rows, "Which is better?", judge or JudgeSpec(), **{"comparisons_max": 10_000, **fields}
    )
    made = with_comparer or comparer(FakeJudges(model))
    return await rank(spec, made, caller=CALLER, deadline=Deadline.after(seconds))


async def test_the_pairs_that_are_open_get_the_comparisons():
    """Two systems are alike and two far from them: most comparisons go to the two."""
    strengths = {"bad": -4, "even": 0, "alike": 0, "good": 4}
    model = ScriptedModel(by_strength(strengths))
    found = (await ranked(model, items(150, *strengths), comparisons_max=200)).ranking
    assert [found.systems[0].name, found.systems[-1].name] == ["good", "bad"]
    assert found.systems[0].rank_range == (1, 1)
    assert found.stopped == "comparisons_max"
    assert found.comparisons_scored == 200
    assert len(model.prompts) == 400, "each is judged in both orders"
    totals = {one.name: one.wins + one.ties + one.losses for one in found.systems}
    assert totals["even"] > 2 * totals["good"]
    assert found.open_pairs == (("even", "alike"),)
    assert (
        "Pairs were chosen by their outcomes: intervals and ranks are approximate."
        in found.statements
    )
    assert found.cost_usd == pytest.approx(400 * COST_USD)
    assert found.judges == {"fake/fake/judge": 400}
    assert model.running_max <= 2 * AT_ONCE


async def test_a_ranking_stops_when_all_ranks_are_resolved():
    """Far from all that there are to compare."""
    strengths = {"low": -2, "middle": 0, "high": 2}
    model = ScriptedModel(by_strength(strengths))
    found = (await ranked(model, items(100, *strengths))).ranking
    assert (found.stopped, found.open_pairs) == ("resolved", ())
    assert found.comparisons_scored < 200 < found.comparisons_possible == 300
    assert [one.rank_range for one in found.systems] == [(1, 1), (2, 2), (3, 3)]


async def test_an_order_effect_is_in_the_model():
    """A judge who likes what is shown first flips, and the strengths stand all the same."""
    strengths = {"low": -0.2, "high": 0.2}
    model = ScriptedModel(by_strength(strengths, order=1.5))
    found = (await ranked(model, items(150, *strengths))).ranking
    assert 0.5 < found.order_effect < 2.5
    assert found.comparisons_flipped > found.comparisons_scored / 3
    assert found.systems[0].name == "high"


async def test_the_seed_repeats_a_ranking():
    """The same items are judged in the same pairs."""
    strengths = {"x": 0, "y": 0.5, "z": 1}

    async def outcome(seed):
        model = ScriptedModel(by_strength(strengths))
        found = (await ranked(model, items(40, *strengths), comparisons_max=30, seed=seed)).ranking
        return found.systems, [prompt.turns[1].text.count("says") for prompt in model.prompts]

    assert await outcome(1) == await outcome(1)


async def test_who_wins_everything_has_no_interval():
    """Only the ridge bounds its strength, and the statement says so."""
    model = ScriptedModel(by_strength({"worst": -99, "best": 99}))
    found = (await ranked(model, items(40, "worst", "best"))).ranking
    best, worst = found.systems
    assert (best.name, best.interval, worst.losses) == ("best", None, best.wins)
    assert any("won, or lost, every comparison" in text for text in found.statements)


async def test_identical_outputs_are_ties_without_a_judge():
    """Nothing tells the systems apart, so there is no interval of no width."""
    model = ScriptedModel("never asked")
    found = (await ranked(model, items(40, "x", "y", same=("x", "y")))).ranking
    assert (found.stopped, found.comparisons_identical, found.cost_usd) == ("all_judged", 40, 0)
    assert [(one.strength, one.interval, one.ties) for one in found.systems] == [(0, None, 40)] * 2
    assert any("nothing tells the systems apart" in text for text in found.statements)
    assert model.prompts == []


async def test_a_system_without_some_outputs_is_compared_on_the_others():
    """The counts say so."""
    model = ScriptedModel(by_strength({"x": 0, "y": 1}))
    rows = items(20, "x", "y") + items(5, "x")
    found = (
        await ranked(
            model, [RankingItem(f"{n}", one.case, one.outputs) for n, one in enumerate(rows)]
        )
    ).ranking
    assert found.comparisons_possible == 20
    assert "y has outputs for 20 of 25 items only." in found.statements
    assert {one.name: one.outputs for one in found.systems} == {"x": 25, "y": 20}


async def test_no_item_with_two_outputs_is_refused():
    """Nothing can be compared, and nothing is asked."""
    with pytest.raises(RequestError, match="/items: at least one item must have outputs of two"):
        await ranked(ScriptedModel(), items(2, "x") + items(2, "y"))


async def test_unscored_comparisons_are_told_and_left_out():
    """An unreadable answer is no tie."""
    good = by_strength({"x": -1, "y": 1})
    model = ScriptedModel(
        lambda prompt: "?" if "question 3" in prompt.turns[1].text else good(prompt)
    )
    found = (await ranked(model, items(12, "x", "y"))).ranking
    assert (found.comparisons_scored, found.unscored) == (11, {"judge_parse_error": 1})
    (one,) = found.unscored_first
    assert (one.item_id, one.systems) == ("i3", ("x", "y"))
    assert any("unscored and left out: 1." in text for text in found.statements)


async def test_a_round_without_a_verdict_ends_the_ranking():
    """Providers that are down are not asked for all pairs."""
    model = ScriptedModel(ProviderDown("down"))
    outcome = await ranked(model, items(100, "x", "y", "z"))
    assert outcome.ranking.stopped == "unscored"
    assert len(model.prompts) == 60
    assert outcome.ranking.systems[0].strength is None
    assert "No comparison is scored: nothing can be said." in outcome.ranking.statements
    assert {verdict.reason for verdict in outcome.failed} == {"providers_unavailable"}


async def test_what_the_deadline_cuts_off_is_said_and_what_was_judged_is_kept():
    """Comparisons that were not begun are counted, those cut off have their reason."""
    asked = 0
    scripted = by_strength({"x": -1, "y": 1})

    class Stalls(ScriptedModel):
        async def complete(self, prompt, context):
            nonlocal asked
            asked += 1
            if asked > 60:
                await asyncio.sleep(context.deadline.remaining_s())
                raise DeadlineExceeded("late")
            return await super().complete(prompt, context)

    outcome = await ranked(Stalls(scripted), items(500, "x", "y"), seconds=1)
    found = outcome.ranking
    assert found.stopped == "deadline"
    assert 20 <= found.comparisons_scored <= 30
    assert set(found.unscored) == {"deadline_exceeded"}
    made = found.comparisons_scored + sum(found.unscored.values())
    assert any(f"{500 - made} of 500 possible" in text for text in found.statements)
    assert found.systems[0].strength is not None


class Coins:
    """Compares by a coin, which some items bias."""

    def __init__(self, seed):
        self._rng = random.Random(seed)

    async def compare(self, case, other, rubric, **_):
        bias = self._rng.gauss(0, 0.5)
        orders = []
        for first, sign in (("a", 1), ("b", -1)):
            wins = self._rng.random() < 1 / (1 + math.exp(-0.3 - sign * bias))
            orders.append(OrderVerdict(first, first if wins else "ab".replace(first, "")))
        winner = orders[0].winner if orders[0].winner == orders[1].winner else "tie"
        return ComparisonOutcome(
            Comparison("cmp", created_at="", winner=winner, consistent=True, preference=0.5,
                       reason=None, orders=tuple(orders), usage=NO_USAGE, cost_usd=0, latency_ms=0)
        )  # fmt: skip


async def test_looking_again_and_again_resolves_no_rank_of_equals():
    """Two equal systems, 40 rankings: one look at 95 % errs in 2 of them, and so may all looks.

    With the same confidence at each look, a fifth of the rankings told equal systems apart.
    """
    found = [
        (await ranked(None, items(150, "x", "y"), with_comparer=Coins(seed), seed=seed)).ranking
        for seed in range(40)
    ]
    assert sum(one.stopped == "resolved" for one in found) <= 2


class Limited(OpenGate):
    """A tenant with so many judge calls."""

    def __init__(self, calls):
        self.left = calls

    async def count_judge_calls(self, tenant, calls):
        self.left -= calls
        if self.left < 0:
            raise TenantLimited("judge-calls", 1)


async def test_a_tenant_at_its_limit_keeps_what_was_judged():
    """Where nothing was, the request is refused as a comparison is."""
    judges = FakeJudges(ScriptedModel(by_strength({"x": -1, "y": 1})))

    def limited(calls):
        events = RecordedEvents()
        return Comparer(judges, Screener(events), events, NO_FETCHES, gate=Limited(calls))

    found = (await ranked(None, items(50, "x", "y"), with_comparer=limited(30))).ranking
    assert (found.stopped, found.comparisons_scored) == ("tenant_limit", 15)
    with pytest.raises(TenantLimited):
        await ranked(None, items(50, "x", "y"), with_comparer=limited(1))


async def test_one_cost_cap_holds_for_all_comparisons():
    """They share one budget, however many run side by side."""
    seen = []

    class Counting(ScriptedModel):
        async def complete(self, prompt, context):
            seen.append(context.budget)
            return await super().complete(prompt, context)

    model = Counting(by_strength({"x": -1, "y": 1}))
    await ranked(model, items(5, "x", "y"), judge=JudgeSpec(max_cost_usd=1.0))
    assert len(set(map(id, seen))) == 1
    assert seen[0].left_usd == 1.0, "the fake model has no layer that spends"
