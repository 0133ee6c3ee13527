"""Runs contenders in turns, A B A B, so that other load on the machine affects all of them."""

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
    """A server to measure: where it is, what to send, and what a correct answer contains."""

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
    """Warm up every contender, then run `rounds` rounds of each, whose figures it keeps."""
    warm_up = {**orders, "seconds": WARM_S, "requests": 0, "rate": 0.0}
    for contender in contenders:
        load(replace(contender.orders, **warm_up))
    for _ in range(rounds):
        for contender in contenders:
            cpu_s = contender.server.cpu_s
            outcome = load(replace(contender.orders, **orders))
            contender.rounds.append(measured(outcome, contender.server.cpu_s - cpu_s))


def measured(outcome: Outcome, cpu_s: float) -> dict[str, Any]:
    """The figures of one round; raises if an answer was wrong, because that is no throughput."""
    wrong = {status: n for status, n in outcome.statuses.items() if status != "200"}
    if wrong or outcome.right != sum(outcome.statuses.values()):
        raise RuntimeError(f"wrong answers: {outcome}")
    return asdict(outcome) | {"cpu_ms": cpu_s * 1_000 / max(outcome.right, 1)}


def spread(rounds: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """The minimum, the median and the maximum of one figure over the rounds."""
    values = [float(figures[key]) for figures in rounds]
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratio(one: Contender, other: Contender, key: str = "rate") -> float:
    """The figure of `one` divided by that of `other`, by the medians of the same run."""
    return spread(one.rounds, key)["median"] / (spread(other.rounds, key)["median"] or 1e-9)
