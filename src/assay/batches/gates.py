"""Gates: what the mean of a batch has to reach, and whether that is certain already.

A gate is about the mean of all rows of the batch. A row that has no score, or none yet, may have
any: it counts as 0 for the lower end of the mean and as 1 for the upper one. So does a row as a
whole if one of its criteria is unscored, for its score is that of the others alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from assay.batches.statistics import SCALE
from assay.batches.summary import ROWS, place_scores
from assay.domain.batches import FinishedRows, GateStep
from assay.domain.evaluation import Evaluation

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Gate:
    """The lowest mean score, or the lowest pass rate, of the rows or of one criterion."""

    place: str
    """The key of the sums that it is about."""
    measure: Literal["score", "pass_rate"]
    bound: float


def parse_gates(
    gates: Sequence[Mapping[str, Any]], names: Sequence[str | None]
) -> tuple[Gate, ...]:
    """The gates of a request whose criteria have these names; raises `ValueError` for others."""
    found: list[Gate] = []
    for gate in gates:
        name, score = gate.get("criterion"), gate.get("min_score")
        place = ROWS if name is None else str(list(names).index(name))
        bound = gate["min_pass_rate"] if score is None else score
        found.append(Gate(place, "pass_rate" if score is None else "score", bound))
    return tuple(found)


def gate_scores(gates: Sequence[Gate], evaluation: Evaluation) -> list[float | None]:
    """What a row counts for each gate, from 0 to 1; None is unscored."""
    found: dict[str, tuple[int | None, bool | None]] = {
        place: (score, passed) for place, score, passed in place_scores(evaluation)
    }
    if evaluation.status == "partial" and ROWS in found:
        found[ROWS] = (None, found[ROWS][1])
    scores: list[float | None] = []
    for gate in gates:
        score, passed = found.get(gate.place, (None, None))
        if gate.measure == "pass_rate":
            scores.append(None if passed is None else float(passed))
        else:
            scores.append(None if score is None else score / SCALE)
    return scores


def certain_verdicts(
    gates: Sequence[Gate], tally: Mapping[str, int], total: int, settled: int
) -> list[dict[str, Any]]:
    """What the results so far say of each gate with certainty, by the sums of a batch."""
    found: list[dict[str, Any]] = []
    for gate in gates:
        is_rate = gate.measure == "pass_rate"
        count = tally.get(f"{gate.place}:{'decided' if is_rate else 'n'}", 0)
        reached = tally.get(f"{gate.place}:{'passed' if is_rate else 'sum'}", 0)
        if not is_rate:
            count -= tally.get(f"{gate.place}:partial", 0)
            reached -= tally.get(f"{gate.place}:partial_sum", 0)
        lowest = reached if is_rate else reached / SCALE
        low, high = (lowest / total, (lowest + total - count) / total) if total else (0.0, 1.0)
        verdict = "undecided"
        if total and low >= gate.bound - ROUNDING:
            verdict = "passed"
        elif high < gate.bound - ROUNDING:
            verdict = "failed"
        statement = (
            f"{verdict.capitalize()} after {settled} of {total} rows: the mean lies from {low:.3f} "
            f"to {high:.3f}, and the gate is {gate.bound:g}."
        )
        if verdict == "undecided" and settled == total:
            statement += f" {total - count} rows are unscored, and it depends on them."
        found.append(
            {"verdict": verdict, "interval": (low, high), "rows": settled, "statement": statement}
        )
    return found


def decide(gates: Sequence[Gate], alpha: float, rows: FinishedRows) -> GateStep:
    """Takes the next finished rows of a batch's order into account.

    The batch is decided at the first row at which all gates are, or at which one is failed: then
    the batch has failed, whatever the others say. So the result follows from the order and the
    scores alone, and not from how many rows are looked at together. α is split over the gates.
    """
    from assay.calibration.sequential import StoppingRule  # noqa: PLC0415  # numpy: only for this

    def rules(count: int) -> list[StoppingRule]:
        if rows.state:
            made = [StoppingRule.from_state(state) for state in orjson.loads(rows.state)]
        else:
            made = [StoppingRule(gate.bound, rows.total, alpha / len(gates)) for gate in gates]
        for number, rule in enumerate(made):
            scores = (row[number] if row else None for row in rows.scores[:count])
            rule.finish(dict(enumerate(scores, rows.first)))
        return made

    found, finished = rules(len(rows.scores)), rows.first + len(rows.scores)
    failed = [rule.finished for rule in found if rule.verdict == "failed"]
    is_decided = bool(failed) or all(rule.verdict for rule in found)
    if is_decided:
        finished = min(failed) if failed else max(rule.finished for rule in found)
        found = rules(finished - rows.first)
    ended: Literal["decided", "completed"] = "completed" if finished == rows.total else "decided"
    return GateStep(
        finished,
        orjson.dumps([rule.to_state() for rule in found]),
        [
            {
                "verdict": rule.verdict or "undecided",
                "interval": rule.interval,
                "rows": rule.finished,
                "statement": rule.statement,
            }
            for rule in found
        ],
        ended if is_decided or finished == rows.total else None,
    )
