"""The latency that Assay adds to the judge's, at a fixed arrival rate of half its throughput."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import payloads
import processes
import report
from contest import Contender, assay_orders, measured, spread
from load import Orders
from options import Options
from processes import load

DELAY_S = 0.05
CONNECTIONS = 256
GOALS_MS = {"p50_ms": 3.0, "p99_ms": 15.0}


def latency_half_load(options: Options, folder: Path) -> None:
    """Open loop, 2 KB: each contender at half of its closed-loop throughput, and the stub alone."""
    text = payloads.prose(2 * payloads.KB)
    case = payloads.written(folder, "case.json", payloads.evaluation(text))
    chat = payloads.written(folder, "chat.json", payloads.chat_completion(text))
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(processes.assay(folder, provider, redis))
        bare = stack.enter_context(processes.floor(folder, provider))
        direct = Orders(provider.port, "/v1/chat/completions", chat, expect="verdict")
        contenders = [
            Contender("Assay", service, assay_orders(service, case)),
            Contender("floor", bare, Orders(bare.port, "/forward", case, expect="verdict")),
        ]
        most = {
            server.name: load(replace(server.orders, connections=64, seconds=options.seconds)).rate
            for server in contenders
        }
        alone = Contender("stub alone", provider, direct)
        most[alone.name] = most["Assay"]
        for _ in range(options.rounds):
            for contender in (*contenders, alone):
                orders = replace(
                    contender.orders,
                    connections=CONNECTIONS,
                    seconds=options.seconds,
                    rate=most[contender.name] / 2,
                )
                cpu_s = contender.server.cpu_s
                outcome = load(orders)
                contender.rounds.append(measured(outcome, contender.server.cpu_s - cpu_s))
    show_figures([*contenders, alone], most)


def show_figures(contenders: list[Contender], most: dict[str, float]) -> None:
    *_, alone = contenders
    base_ms = {key: spread(alone.rounds, key)["median"] for key in GOALS_MS}
    rows: list[tuple[str, ...]] = [("", "arrivals/s", "added p50 ms", "added p99 ms", "max ms")]
    added: dict[str, dict[str, float]] = {}
    for contender in contenders:
        # Other work on the machine can only add to a latency, so the best round is the truest.
        added[contender.name] = {
            f"{key}_{which}": spread(contender.rounds, key)[which] - base_ms[key]
            for key in GOALS_MS
            for which in ("min", "median")
        }
        ours = added[contender.name]
        rows.append(
            (
                contender.name,
                f"{most[contender.name] / 2:,.0f}",
                f"{ours['p50_ms_median']:.1f} (best {ours['p50_ms_min']:.1f})",
                f"{ours['p99_ms_median']:.1f} (best {ours['p99_ms_min']:.1f})",
                f"{spread(contender.rounds, 'max_ms')['median']:.0f}",
            )
        )
    note = f"over the stub's own {base_ms['p50_ms']:.1f} / {base_ms['p99_ms']:.1f} ms"
    report.show("latency-half-load: 2 KB, open loop", rows, [note])
    rounds = {contender.name: contender.rounds for contender in contenders}
    report.keep("latency-half-load", {"added": added, "most": most, "rounds": rounds})
