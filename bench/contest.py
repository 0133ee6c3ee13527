"""Runs contenders in turns, A B A B, so that what else the machine does meets all of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from load import Orders, Outcome
from processes import API_KEY, Server, load

WARM_S = 0.7


@dataclass
class Contender:
    """Somebody who answers: where, what is sent, and what a right answer holds."""

    name: str
    server: Server
    orders: Orders
    rounds: list[dict[str, Any]] = field(default_factory=list)


def assay_orders(server: Server, body_file: str, **more: Any) -> Orders:
    return Orders(
        port=server.port,
        path="/v1/evaluations",
        body_file=body_file,
        headers={"authorization": f"Bearer {API_KEY}"},
        expect='"status":"completed","passed":true',
        **more,
    )


def contest(contenders: Sequence[Contender], rounds: int, **orders: Any) -> None:
    """Warm everyone up, then run `rounds` rounds of everyone; the book is in each contender."""
    for each in contenders:
        load(replace(each.orders, **{**orders, "seconds": WARM_S, "requests": 0, "rate": 0.0}))
    for _ in range(rounds):
        for each in contenders:
            cpu_s = each.server.cpu_s
            outcome = load(replace(each.orders, **orders))
            each.rounds.append(measured(outcome, each.server.cpu_s - cpu_s))


def measured(outcome: Outcome, cpu_s: float) -> dict[str, Any]:
    """One round; raises where an answer was wrong, for a wrong answer is no throughput."""
    wrong = {status: n for status, n in outcome.statuses.items() if status != "200"}
    if wrong or outcome.right != sum(outcome.statuses.values()):
        raise RuntimeError(f"wrong answers: {outcome}")
    return asdict(outcome) | {"cpu_ms": cpu_s * 1_000 / max(outcome.right, 1)}


def spread(rounds: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """The least, the middle and the most of one figure over the rounds."""
    values = [float(each[key]) for each in rounds]
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratio(one: Contender, other: Contender, key: str = "rate") -> float:
    """How many times the other's figure one's is, by the medians of the same run."""
    return spread(one.rounds, key)["median"] / (spread(other.rounds, key)["median"] or 1e-9)
