"""Replays recorded judge completions through the real service and prints what comes out.

    bin/replay

Starts the replay server and `assay serve`, posts every case over HTTP, and compares the verdicts
with the recorded ones.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.service_process import running_service
from replay.judges import replay_pairs, replay_preferences, replay_samples
from replay.recordings import (
    DATA,
    FAIREVAL,
    FORMS,
    Recording,
    alpacaeval,
    in_form,
    llmbar_casestudy,
    llmbar_faireval,
    prometheus_samples,
    prometheus_vicuna,
    published,
    without_verdict,
)
from replay.server import ReplayServer

CONCURRENCY = 32
JUDGES = ("GPT-4.CoT", "ChatGPT.CoT", "LLaMA2.CoT", "PaLM2.CoT", "Falcon.CoT")

CONFIG = """
[providers.replay]
dialect = "openai"
base_url = "{url}"
stream = false

[models."replay/judge"]
provider = "replay"
name = "judge"
structured_output = {structured}
"""


@dataclass
class Outcome:
    """How the service's verdicts compare with the recorded ones.

    `lost` are recorded verdicts that were not read, `invented` those that were read otherwise or
    that are not there. `methods` counts how the verdicts were read.
    """

    as_recorded: int = 0
    lost: list[Recording] = field(default_factory=list)
    invented: list[tuple[Recording, object]] = field(default_factory=list)
    methods: Counter[str] = field(default_factory=Counter)


async def replay(recordings: Sequence[Recording], *, structured: bool = False) -> Outcome:
    """Post every recording's case to a real service whose judge is the replay server."""
    outcome = Outcome()
    slots = asyncio.Semaphore(CONCURRENCY)
    config = CONFIG.format(url="{url}", structured=str(structured).lower())
    recorded = {recording.key: [recording.completion] for recording in recordings}
    with tempfile.TemporaryDirectory() as folder:
        async with (
            ReplayServer(recorded) as server,
            running_service(Path(folder), config.format(url=server.url)) as service,
            aiohttp.ClientSession(service.url) as session,
        ):

            async def one(recording: Recording) -> None:
                async with slots, session.post("/v1/evaluations", json=recording.request) as answer:
                    body = await answer.json()
                    assert answer.status == 200, body
                result = body["results"][0]
                found = result["label"] if result["type"] == "label" else result["value"]
                if found == recording.expected:
                    outcome.as_recorded += 1
                elif found is None:
                    outcome.lost.append(recording)
                else:
                    outcome.invented.append((recording, found))
                if result["judge"]["read_from"]:
                    outcome.methods[result["judge"]["read_from"]["method"]] += 1

            async with asyncio.TaskGroup() as group:
                for recording in recordings:
                    group.create_task(one(recording))
    return outcome


async def main() -> int:
    """Replay everything and print the table; exit status 2 where the data is not there."""
    if not DATA.exists():
        print(f"skipped: no recorded data at {DATA} (set ASSAY_DATA)")  # noqa: T201 — a command
        return 2
    sets = {"prometheus-vicuna (GPT-4)": list(prometheus_vicuna())}
    sets |= {f"llmbar-casestudy ({judge})": list(llmbar_casestudy(judge)) for judge in JUDGES}
    gpt4 = list(llmbar_casestudy("GPT-4.CoT"))
    table = Table("recorded", "form", "verdicts", "as recorded", "lost", "invented", "read as")
    for name, recordings in sets.items():
        variants = {"as recorded": recordings}
        variants |= {form: list(in_form(form, recordings)) for form in FORMS}
        for form, variant in variants.items():
            outcome = await replay(variant, structured=form == "structured")
            add_row(table, name, form, len(variant), outcome)
    cut = list(without_verdict(gpt4))
    add_row(table, "llmbar-casestudy (GPT-4.CoT)", "verdict cut out", len(cut), await replay(cut))
    console = Console(width=140)
    console.print(table)
    console.print(await comparisons(), await repeated(), sep="\n")
    return 0


def add_row(table: Table, name: str, form: str, count: int, outcome: Outcome) -> None:
    """One set in one form."""
    methods = ", ".join(f"{number} {method}" for method, number in outcome.methods.most_common())
    counts = (count, outcome.as_recorded, len(outcome.lost), len(outcome.invented))
    table.add_row(name, form, *map(str, counts), methods)


async def comparisons() -> Table:
    """Accuracy and agreement of comparisons, beside the published figures, in per cent."""
    columns = ("correct, straight", "correct, swapped", "mean", "both orders agree")
    table = Table("llmbar-faireval, found / published", *columns)
    for source in FAIREVAL:
        found = await replay_pairs(list(llmbar_faireval(source)))
        known = published(source)
        cells = [f"{found[name]:.2f} / {known[name]:.2f}" for name in known]
        table.add_row(source, *cells)
    return table


async def repeated() -> Table:
    """The win rate by log-probabilities, and the mean and spread of samples."""
    table = Table("more than one number", "cases", "figure", "as recorded")
    weighed = list(alpacaeval())
    preferences, calls = await replay_preferences(weighed)
    rate, known = (
        f"{100 * statistics.fmean(each):.4f} %"
        for each in (preferences, [e.expected for e in weighed])
    )
    table.add_row(f"alpacaeval-alpaca7b, win rate ({calls} calls)", str(len(weighed)), rate, known)
    samples = list(prometheus_samples())
    results = await replay_samples(samples)
    found = (
        statistics.fmean(each["value"] for each in results),
        statistics.fmean(each["judge"]["spread"] for each in results),
    )
    scores = [each for *_, each in samples]
    recorded = (
        statistics.fmean(map(statistics.fmean, scores)),
        statistics.fmean(map(statistics.pstdev, scores)),
    )
    cells = (f"{mean:.4f}, spread {spread:.4f}" for mean, spread in (found, recorded))
    table.add_row("prometheus-vicuna, mean of 3 samples", str(len(samples)), *cells)
    return table


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
