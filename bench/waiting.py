"""Async against sync: how many callers one process serves while its judge takes a second."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import payloads
import processes
import report
from contest import Contender, assay_orders, contest, ratio
from load import Orders
from options import Options

DELAY_S = 1.0
CONNECTIONS = 700
"""Concurrent callers; the synchronous build serves forty of them."""


def async_vs_sync(options: Options, folder: Path) -> None:
    """2 KB and a judge that takes 1 s: Assay and one worker with 40 threads."""
    text = payloads.prose(2 * payloads.KB)
    case = payloads.written(folder, "case.json", payloads.evaluation(text))
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S))
        redis = stack.enter_context(processes.redis(folder))
        service = stack.enter_context(processes.assay(folder, provider, redis))
        threads = stack.enter_context(processes.blocking(folder, provider))
        ours = Contender("Assay", service, assay_orders(service, case))
        theirs = Contender(
            "sync, 40 threads", threads, Orders(threads.port, "/forward", case, expect="verdict")
        )
        rounds, seconds = (1, 3.0) if options.quick else (3, 8.0)
        for _ in range(rounds):
            contest([ours], 1, connections=CONNECTIONS, seconds=seconds)
            # More callers would wait in vain and only delay the end of a round.
            contest([theirs], 1, connections=80, seconds=seconds)
    times = ratio(ours, theirs)
    rows = report.throughput_table([ours, theirs])
    report.show("async-vs-sync: the stub takes 1 s", rows, [f"{times:.1f} × the synchronous build"])
    rounds_kept = {contender.name: contender.rounds for contender in (ours, theirs)}
    report.keep("async-vs-sync", {"ratio": times, "rounds": rounds_kept})
