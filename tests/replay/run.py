"""Replays recorded judge completions through the real service and prints what comes out.

    bin/replay

Starts the replay server and `assay serve`, posts every case over HTTP, and compares the verdicts
with the recorded ones.
"""

from __future__ import annotations

import asyncio
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
from replay.recordings import DATA, Recording, llmbar_casestudy, prometheus_vicuna, without_verdict
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
structured_output = false
"""


@dataclass
class Outcome:
    """How the service's verdicts compare with the recorded ones."""

    agreed: int = 0
    unscored: Counter[str] = field(default_factory=Counter)
    differing: list[tuple[Recording, object]] = field(default_factory=list)


async def replay(recordings: Sequence[Recording]) -> Outcome:
    """Post every recording's case to a real service whose judge is the replay server."""
    outcome = Outcome()
    slots = asyncio.Semaphore(CONCURRENCY)
    recorded = {each.key: [each.completion] for each in recordings}
    with tempfile.TemporaryDirectory() as folder:
        async with (
            ReplayServer(recorded) as server,
            running_service(Path(folder), CONFIG.format(url=server.url)) as service,
            aiohttp.ClientSession(service.url) as session,
        ):

            async def one(recording: Recording) -> None:
                async with slots, session.post("/v1/evaluations", json=recording.request) as answer:
                    body = await answer.json()
                    assert answer.status == 200, body
                result = body["results"][0]
                if result["status"] == "unscored":
                    outcome.unscored[result["reason"]] += 1
                found = result["label"] if result["type"] == "label" else result["value"]
                if found == recording.expected:
                    outcome.agreed += 1
                else:
                    outcome.differing.append((recording, found))

            async with asyncio.TaskGroup() as group:
                for recording in recordings:
                    group.create_task(one(recording))
    return outcome


async def main() -> int:
    """Replay everything and print the table; exit status 2 where the data is not there."""
    if not DATA.exists():
        print(f"skipped: no recorded data at {DATA} (set ASSAY_DATA)")  # noqa: T201 — a command
        return 2
    sources = {"prometheus-vicuna (GPT-4, 320 × 3)": list(prometheus_vicuna())}
    sources |= {f"llmbar-casestudy ({judge})": list(llmbar_casestudy(judge)) for judge in JUDGES}
    gpt4 = list(llmbar_casestudy("GPT-4.CoT"))
    sources["llmbar-casestudy (GPT-4.CoT, verdict cut out)"] = list(without_verdict(gpt4))
    table = Table("recorded", "verdicts", "as recorded", "unscored", "other verdict")
    for name, recordings in sources.items():
        outcome = await replay(recordings)
        unscored = ", ".join(f"{count} {reason}" for reason, count in outcome.unscored.items())
        other = len(outcome.differing) - outcome.unscored.total()
        table.add_row(name, str(len(recordings)), str(outcome.agreed), unscored or "0", str(other))
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
