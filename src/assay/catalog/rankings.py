"""Ranks systems by comparisons of their outputs on the same items, judged where ranks are open."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, islice, zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from assay.domain.comparison import Comparison, ComparisonOutcome, OrderVerdict, Winner
from assay.domain.completion import Caller, to_ms, total_spent
from assay.domain.errors import FieldError, Reason, RequestError
from assay.domain.evaluation import Case, JudgeSpec, RetryAdvice, Text, latest
from assay.domain.ids import new_id, now_ms, shown_time
from assay.domain.policy import CostBudget, Deadline
from assay.domain.ranking import RankedSystem, Stopped, SystemRanking, UnscoredComparison
from assay.domain.tenants import TenantLimited
from assay.domain.unasked import unasked
from assay.evaluation.ports import Compares
from assay.judging.concurrency import side_by_side

if TYPE_CHECKING:
    from assay.calibration.ranking import Ranking

AT_ONCE = 8
"""Comparisons of one ranking at the same time."""
FIRST_ROUND = 10
"""Comparisons of each pair before any is chosen by its outcome."""
ITEMS_MIN = 30
"""Fewer items settle no rank, whatever their outcomes."""
ROUND_MIN, ROUND_SHARE = 5, 0.5
"""Comparisons of each open pair in a later round, or more, so that few rounds reach any number."""
RESAMPLES = 1_000
FIT_SHARE, FIT_S_MAX = 0.1, 1.0
"""The part of the time that is kept for the figures."""
SHOWN_MAX = 100
SAME_TEXT = (OrderVerdict("a", "tie"), OrderVerdict("b", "tie"))
"""The verdicts on two outputs that are equal, for which no judge is asked."""
Number = TypeVar("Number", int, float)
OUTCOMES: Mapping[Winner | None, float] = {"a": 1.0, "tie": 0.0, "b": -1.0}
CUTS: Mapping[Reason | None, Stopped] = {
    "cost_cap_reached": "cost_cap",
    "deadline_exceeded": "deadline",
}
"""Reasons for which no further comparison would be scored either."""
WHY_STOPPED: Mapping[Stopped, str] = {
    "open_pairs_judged": "All comparisons of the open pairs are made, so more items are needed",
    "comparisons_max": "The largest number of comparisons is reached",
    "deadline": "The deadline ended the ranking",
    "cost_cap": "The cost cap ended the ranking",
    "tenant_limit": "A limit of your tenant ended the ranking",
    "unscored": "No comparison of a whole round could be judged, which ended the ranking",
}


@dataclass(frozen=True, slots=True)
class RankingItem:
    """One case with the outputs of systems by their names; its own output is not used."""

    id: str
    case: Case
    outputs: Mapping[str, Text]


@dataclass(frozen=True, slots=True)
class RankingSpec:
    """What to rank, and how far; at most `comparisons_max` comparisons of both orders are made."""

    items: Sequence[RankingItem]
    rubric: str
    judge: JudgeSpec
    comparisons_max: int
    seed: int = 0
    confidence: float = 0.95
    metadata: Mapping[str, Any] | None = None

    @property
    def systems(self) -> list[str]:
        """The names of all systems, in their order."""
        return list(dict.fromkeys(name for item in self.items for name in item.outputs))


@dataclass(frozen=True, slots=True)
class RankingOutcome:
    """A ranking; if nothing is scored, the verdicts that failed and when to try again."""

    ranking: SystemRanking
    failed: Sequence[OrderVerdict] = ()
    retry: RetryAdvice | None = None


class _Match(NamedTuple):
    """Two systems and an item, as indices."""

    first: int
    second: int
    item: int


async def rank(
    spec: RankingSpec, comparer: Compares, *, caller: Caller, deadline: Deadline
) -> RankingOutcome:
    """Compare and rank; what the deadline or a limit cuts off is said, what was judged is kept.

    Raises `RequestError` if no item has two outputs, and `TenantLimited` if nothing was judged.
    """
    started_s, created_at = time.monotonic(), shown_time(now_ms())
    kept_s = min(FIT_S_MAX, FIT_SHARE * max(0.0, deadline.remaining_s()))
    ranker = _Ranker(spec, comparer, caller, deadline.earlier_by(kept_s))
    stopped, fit = await ranker.run()
    comparisons = [outcome.comparison for outcome in ranker.outcomes.values()]
    scored = [one for one in comparisons if one.winner is not None]
    verdicts = [order for one in comparisons for order in one.orders]
    usage, cost_usd = total_spent(comparisons)
    judges = Counter(
        f"{order.judge.provider}/{order.judge.model}"
        for order in verdicts
        if order.judge and order.winner
    )
    reasons = Counter(str(one.reason) for one in comparisons if one.winner is None)
    ranking = SystemRanking(
        id=new_id("rank"),
        created_at=created_at,
        systems=tuple(ranker.ranked(fit)),
        confidence=spec.confidence,
        order_effect=None if fit is None else float(fit.order_effect),
        open_pairs=tuple(islice(ranker.open_pairs(fit), SHOWN_MAX)),
        statements=tuple(ranker.statements(fit, stopped)),
        stopped=stopped,
        comparisons_possible=ranker.possible,
        comparisons_scored=len(scored),
        comparisons_identical=sum(not one.orders for one in scored),
        comparisons_flipped=sum(one.consistent is False for one in scored),
        unscored=dict(reasons.most_common()),
        unscored_first=tuple(islice(ranker.unscored(), SHOWN_MAX)),
        judges=dict(judges.most_common()),
        suspect=sum(bool(one.suspect) for one in comparisons),
        rounds=ranker.rounds,
        seed=spec.seed,
        usage=usage,
        cost_usd=cost_usd,
        latency_ms=to_ms(time.monotonic() - started_s),
        simulated=any(one.simulated for one in comparisons),
        metadata=spec.metadata or {},
    )
    if scored:
        return RankingOutcome(ranking)
    advice = latest(outcome.retry for outcome in ranker.outcomes.values())
    return RankingOutcome(ranking, verdicts, advice)


class _Ranker:
    """One ranking under way."""

    def __init__(
        self, spec: RankingSpec, comparer: Compares, caller: Caller, deadline: Deadline
    ) -> None:
        self._spec, self._comparer, self._caller, self._deadline = spec, comparer, caller, deadline
        cap = spec.judge.max_cost_usd
        self._budget = None if cap is None else CostBudget(cap)
        self._systems = spec.systems
        self._waiting = self._matches()
        self._cut: Stopped | None = None
        self._limited: TenantLimited | None = None
        self.possible = sum(map(len, self._waiting.values()))
        if not self.possible:
            message = "at least one item must have outputs of two systems"
            fault = FieldError("/items", message)
            raise RequestError("invalid_request", f"/items: {message}.", [fault])
        self.outcomes: dict[_Match, ComparisonOutcome] = {}
        self.rounds = 0

    def _matches(self) -> dict[tuple[int, int], list[_Match]]:
        """The comparisons of each pair, in a random order of its own."""
        rng = random.Random(self._spec.seed)  # noqa: S311  # no secret: the seed repeats it
        found: dict[tuple[int, int], list[_Match]] = {}
        for one, two in combinations(range(len(self._systems)), 2):
            names = {self._systems[one], self._systems[two]}
            items = enumerate(self._spec.items)
            matches = [_Match(one, two, n) for n, item in items if names <= item.outputs.keys()]
            rng.shuffle(matches)
            if matches:
                found[one, two] = matches
        return found

    async def run(self) -> tuple[Stopped, Ranking | None]:
        """Judge in rounds, each where the one before left ranks open; raises `TenantLimited`."""
        stopped, pairs, each = None, list(self._waiting), FIRST_ROUND
        while stopped is None:
            stopped = await self._judge_round(pairs, each)
            if self._limited is not None and not any(self._scored()):
                raise self._limited
            fit = await self._fit()
            if stopped is None:
                pairs = [pair for pair in self._open(fit) if self._waiting.get(pair)]
                each = max(ROUND_MIN, round(ROUND_SHARE * len(self.outcomes) / max(1, len(pairs))))
                if not pairs:
                    stopped = "open_pairs_judged" if self._open(fit) else "resolved"
        return stopped, fit

    async def _judge_round(self, pairs: Sequence[tuple[int, int]], each: int) -> Stopped | None:
        """Judge the next comparisons of the pairs, in turn; the reason if it was the last round."""
        self.rounds += 1
        left = self._spec.comparisons_max - len(self.outcomes)
        turns = zip_longest(*(self._waiting[pair][:each] for pair in pairs))
        todo = list(islice((match for match in chain(*turns) if match is not None), left))
        waiting = iter(todo)

        async def work() -> None:
            for match in waiting:
                if self._deadline.remaining_s() <= 0:
                    self._cut = "deadline"
                if self._cut is not None:
                    return
                try:
                    outcome = self.outcomes[match] = await self._compare(match)
                except TenantLimited as error:
                    self._cut, self._limited = "tenant_limit", error
                else:
                    self._cut = CUTS.get(outcome.comparison.reason, self._cut)

        await side_by_side(work() for _ in range(min(AT_ONCE, len(todo))))
        for pair in pairs:
            self._waiting[pair] = [one for one in self._waiting[pair] if one not in self.outcomes]
        return self._cut or self._why_stopped(todo)

    def _why_stopped(self, todo: Sequence[_Match]) -> Stopped | None:
        """Why no round follows the one that judged these."""
        if len(self.outcomes) == self.possible:
            return "all_judged"
        if len(self.outcomes) >= self._spec.comparisons_max:
            return "comparisons_max"
        scored = any(self.outcomes[match].comparison.winner is not None for match in todo)
        return None if scored else "unscored"

    async def _compare(self, match: _Match) -> ComparisonOutcome:
        item = self._spec.items[match.item]
        one, two = (item.outputs[self._systems[n]] for n in (match.first, match.second))
        return await self._comparer.compare(
            replace(item.case, output=one),
            two,
            self._spec.rubric,
            judge=self._spec.judge,
            caller=self._caller,
            deadline=self._deadline,
            metadata={},
            budget=self._budget,
        )

    def _scored(self) -> Iterator[tuple[_Match, Comparison]]:
        for match, outcome in self.outcomes.items():
            if outcome.comparison.winner is not None:
                yield match, outcome.comparison

    async def _fit(self) -> Ranking | None:
        """Strengths from the verdicts in each order; None without any."""
        rows = [
            (*_shown(match, order), match.item)
            for match, comparison in self._scored()
            for order in comparison.orders[:2] or SAME_TEXT
        ]
        return await asyncio.to_thread(self._fitted, rows) if rows else None

    def _fitted(self, rows: Sequence[tuple[int, int, float, int]]) -> Ranking:
        """Each round looks at the ranks again, and so gets a part of the error: α / (r (r + 1))."""
        from assay.calibration.ranking import rank_systems  # noqa: PLC0415  # loads the statistics

        first, second, outcomes, items = zip(*rows, strict=True)
        return rank_systems(
            first,
            second,
            outcomes,
            items,
            len(self._systems),
            confidence=1 - (1 - self._spec.confidence) / (self.rounds * (self.rounds + 1)),
            resamples=RESAMPLES,
            adaptive=self.rounds > 1 and len(self.outcomes) < self.possible,
            seed=self._spec.seed,
        )

    def _open(self, fit: Ranking | None) -> Sequence[tuple[int, int]]:
        """Pairs whose order is open, the most uncertain first; all of them with few items."""
        items = {match.item for match, _ in self._scored()}
        if fit is None or fit.rank_ranges is None or len(items) < ITEMS_MIN:
            return list(combinations(range(len(self._systems)), 2))
        return fit.unresolved

    def open_pairs(self, fit: Ranking | None) -> Iterator[tuple[str, str]]:
        """The names of these pairs."""
        return ((self._systems[one], self._systems[two]) for one, two in self._open(fit))

    def ranked(self, fit: Ranking | None) -> Sequence[RankedSystem]:
        """The systems, the strongest first."""
        won: Counter[tuple[int, float]] = Counter()
        for match, comparison in self._scored():
            outcome = OUTCOMES[comparison.winner]
            won.update([(match.first, outcome), (match.second, -outcome)])
        systems = [
            RankedSystem(
                name,
                None if fit is None else float(fit.strengths[n]),
                None if fit is None or fit.intervals is None else _pair(fit.intervals[n], float),
                None if fit is None or fit.rank_ranges is None else _pair(fit.rank_ranges[n], int),
                sum(name in item.outputs for item in self._spec.items),
                *(won[n, outcome] for outcome in (1.0, 0.0, -1.0)),
            )
            for n, name in enumerate(self._systems)
        ]
        return sorted(systems, key=lambda system: -(system.strength or 0.0))

    def unscored(self) -> Iterator[UnscoredComparison]:
        """The comparisons without a winner."""
        for match, outcome in self.outcomes.items():
            if outcome.comparison.winner is None:
                names = self._systems[match.first], self._systems[match.second]
                item = self._spec.items[match.item].id
                yield UnscoredComparison(item, names, str(outcome.comparison.reason))

    def statements(self, fit: Ranking | None, stopped: Stopped) -> Iterator[str]:
        """What can be said of the ranking, and what cannot."""
        yield from (
            ("No comparison is scored: nothing can be said.",) if fit is None else fit.statements
        )
        comparisons = [outcome.comparison for outcome in self.outcomes.values()]
        unscored = sum(one.winner is None for one in comparisons)
        identical = sum(one.winner is not None and not one.orders for one in comparisons)
        if why := WHY_STOPPED.get(stopped):
            missing = self.possible - len(comparisons)
            yield f"{why}: {missing} of {self.possible} possible comparisons were not made."
        if unscored:
            yield (
                f"Comparisons that are unscored and left out: {unscored}. If they are the hard "
                "ones, the ranking is one of the easy ones."
            )
        if identical:
            yield f"Comparisons of identical outputs, which are ties without a judge: {identical}."
        for name in self._systems:
            outputs = sum(name in item.outputs for item in self._spec.items)
            if outputs < len(self._spec.items):
                yield f"{name} has outputs for {outputs} of {len(self._spec.items)} items only."
        if any(one.simulated for one in comparisons):
            judges = [order.judge for one in comparisons for order in one.orders]
            word = unasked({judge.provider for judge in judges if judge})
            yield f"Verdicts are {word}: no model was asked, and the ranking means nothing."


def _shown(match: _Match, order: OrderVerdict) -> tuple[int, int, float]:
    """The systems as they were shown, and the outcome seen from the first of them."""
    outcome = OUTCOMES[order.winner]
    if order.first == "a":
        return match.first, match.second, outcome
    return match.second, match.first, -outcome


def _pair(values: Any, kind: Callable[[Any], Number]) -> tuple[Number, Number]:
    low, high = values
    return kind(low), kind(high)
