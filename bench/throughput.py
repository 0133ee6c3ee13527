"""Closed-loop throughput of the service, the floor and the peer, in turns with the same case."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import payloads
import processes
import report
from contest import Contender, assay_orders, contest, ratio, spread
from load import Orders
from options import Options
from peer import KEY, litellm, version
from processes import Server, load
from stub import TOKENS

DELAY_S = 0.05
CEILING_S = 1.0
BOUND_MIN = 3.0
"""So many callers with this delay could make three times the requests that the floor answers."""


def evaluate_1mb(options: Options, folder: Path) -> None:
    """1 MB of plain prose, 96 connections."""
    compare("evaluate-1mb", payloads.prose(payloads.MB), 96, options, folder)


def evaluate_1mb_escapes(options: Options, folder: Path) -> None:
    """1 MB full of escapes, 48 connections."""
    compare("evaluate-1mb-escapes", payloads.escapes(payloads.MB), 48, options, folder)


def evaluate_2kb(options: Options, folder: Path) -> None:
    """2 KB of prose, 560 connections."""
    compare("evaluate-2kb", payloads.prose(2 * payloads.KB), 560, options, folder)


def streams(options: Options, folder: Path) -> None:
    """What it costs that the events of an answer arrive one by one, with 400 connections."""
    case = payloads.written(folder, "case.json", payloads.evaluation(payloads.prose(2_048)))
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S))
        redis = stack.enter_context(processes.redis(folder))
        contenders = []
        for name, answers in (("at once", "stream"), ("one by one", "tokens")):
            own = folder / answers
            own.mkdir()
            service = stack.enter_context(processes.assay(own, provider, redis, answers=answers))
            contenders.append(Contender(name, service, assay_orders(service, case)))
        contest(contenders, options.rounds, connections=400, seconds=options.seconds)
    at_once, by_one = (spread(one.rounds, "cpu_ms")["median"] for one in contenders)
    event_us = (by_one - at_once) * 1e3 / (len(TOKENS) - 1)
    title = f"streams: 2 KB, an answer of {len(TOKENS)} events"
    note = f"{event_us:.1f} µs for each event that arrives by itself"
    report.show(title, report.throughput_table(contenders), [note])
    rounds = {contender.name: contender.rounds for contender in contenders}
    report.keep("streams", {"events": len(TOKENS), "event_us": event_us, "rounds": rounds})


def compare(name: str, text: str, connections: int, options: Options, folder: Path) -> None:
    case = payloads.written(folder, "case.json", payloads.evaluation(text))
    chat = payloads.written(folder, "chat.json", payloads.chat_completion(text))
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(processes.assay(folder, provider, redis))
        bare = stack.enter_context(processes.floor(folder, provider))
        contenders = [
            Contender("Assay", service, assay_orders(service, case)),
            Contender("floor", bare, Orders(bare.port, "/forward", case, expect="verdict")),
        ]
        if options.peer:
            other = stack.enter_context(litellm(folder, provider))
            headers = {"authorization": f"Bearer {KEY}"}
            orders = Orders(other.port, "/v1/chat/completions", chat, headers, expect="verdict")
            contenders.append(Contender(f"LiteLLM {version()}", other, orders))
        ceiling = stub_ceiling(provider, chat, connections)
        contest(contenders, options.rounds, connections=connections, seconds=options.seconds)
    show_figures(
        name, contenders, ceiling, {"bytes": Path(case).stat().st_size, "clients": connections}
    )


def stub_ceiling(provider: Server, body_file: str, connections: int) -> float:
    """Requests a second of the load generator against the stub alone."""
    orders = Orders(
        provider.port, "/v1/chat/completions", body_file, connections=4 * connections,
        seconds=CEILING_S, expect="verdict",
    )  # fmt: skip
    return load(orders).rate


def show_figures(
    name: str, contenders: list[Contender], ceiling: float, about: dict[str, Any]
) -> None:
    ours, *others = contenders
    ratios = {other.name: ratio(ours, other) for other in others}
    cpu = {other.name: ratio(ours, other, "cpu_ms") for other in others}
    notes = [
        f"CPU {cpu[other]:.2f} × and {value:.2f} × the requests of {other}"
        for other, value in ratios.items()
    ]
    bound = about["clients"] / DELAY_S
    best = spread(others[0].rounds, "rate")["max"]
    enough = "" if bound >= BOUND_MIN * best else ": too few callers for an honest ratio"
    notes.append(
        f"bound of the callers: {bound:,.0f} requests/s, {bound / best:.1f} × floor{enough}"
    )
    notes.append(f"the stub and the generator alone: {ceiling:,.0f} requests/s")
    title = (
        f"{name}: {about['bytes']:,} bytes, {about['clients']} clients, stub {DELAY_S * 1e3:g} ms"
    )
    report.show(title, report.throughput_table(contenders), notes)
    rounds = {contender.name: contender.rounds for contender in contenders}
    figures = {"cpu_ratios": cpu, "ratios": ratios, "bound": bound, "stub_ceiling": ceiling}
    report.keep(name, about | figures | {"rounds": rounds})
