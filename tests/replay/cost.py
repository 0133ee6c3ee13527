"""What a recorded day of requests costs, with each saving and without any.

    bin/cost [--every N] [--write]

Runs the day through real batches of a real service, whose judges are a server that answers with
recorded verdicts and charges tokens by list prices. Prints the bills, and how often each way to
judge agrees with people. Fails where a saving changes a verdict that it must not change, where the
service counts another bill than the server, where a call takes another way than its `service`, or
where less than half is saved.
`--every N` takes each Nth case; `--write` writes bench/results/cost.json and docs/cost.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from assay.bootstrap.prices import published
from assay.calibration.comparison import compare_runs
from assay.calibration.figures import group_codes, share_figure
from assay.settings.known_models import known_models
from fakes.service_process import ServiceProcess, running_service
from replay.charging_server import ChargingServer, Price
from replay.day import CHEAP, DEAR, KINDS, Part, answers, both_orders, one_order
from replay.recordings import DATA

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "bench" / "results" / "cost.json", ROOT / "docs" / "cost.md"
BEGIN, END = "<!-- Written by `bin/cost --write`. -->\n", "<!-- End. -->"
RATIO_MAX = 0.5
CONFIDENCE = 0.95
DEAR_ALONE, CHEAP_ALONE, CASCADE = "dear judge alone", "cheap judge alone", "cascade"
EVERYTHING = "shared calls and batch API"
"""All savings that ask the dear judge alone. Shared calls leave nothing for the prefix cache."""
_DEAR = {"models": ["dear"]}
_TIERS = {
    "cascade": {
        "tiers": [{"models": ["cheap"], "samples": 2}, {"models": ["dear"]}],
        "thresholds": [1.0, 0.0],
        "otherwise": "last",
    }
}
_JOBS, _SHARED = {"service": "batch"}, {"batch_criteria": True}
WAYS: Mapping[str, Mapping[str, Any]] = {
    DEAR_ALONE: {**_DEAR, "prefix_cache": False},
    CHEAP_ALONE: {"models": ["cheap"], "prefix_cache": False},
    CASCADE: {**_TIERS, "prefix_cache": False},
    "shared calls": {**_DEAR, **_SHARED},
    "prefix cache": _DEAR,
    "batch API": {**_DEAR, **_JOBS},
    "batch API, marked prefixes*": {**_DEAR, **_JOBS, "prefix_cache": True},
    EVERYTHING: {**_DEAR, **_SHARED, **_JOBS},
    "cascade and batch API": {**_TIERS, **_JOBS},
    "cascade, shared calls and batch API": {**_TIERS, **_SHARED, **_JOBS},
}
"""The field `judge` of each way to judge."""
ONE_ORDER = [
    name for name in WAYS if name not in ("batch API, marked prefixes*", "cascade and batch API")
]
BOTH_ORDERS = (DEAR_ALONE, CHEAP_ALONE, CASCADE, "batch API", "cascade and batch API")
LONG = [name for name in WAYS if name != CHEAP_ALONE and "cascade" not in name]
CONFIG = """
[batches]
jobs_poll_s = 0.1

[providers.dear]
dialect = "anthropic"
base_url = "{dear_url}"
api_key_env = "COST_KEY"
batch_api = true
stream = false

[providers.cheap]
dialect = "openai"
base_url = "{cheap_url}"
api_key_env = "COST_KEY"
batch_api = true
stream = false

[models.dear]
provider = "dear"
name = "{dear}"
{dear_prices}

[models.cheap]
provider = "cheap"
name = "{cheap}"
{cheap_prices}
"""
FIELDS = {
    "input_usd_per_mtok": "input",
    "output_usd_per_mtok": "output",
    "cached_input_usd_per_mtok": "read",
    "cache_write_usd_per_mtok": "write",
}


@dataclass(frozen=True)
class Run:
    """The bill of one way to judge, and the verdicts by case and criterion.

    `astray` calls were asked directly in place of in a job, or the other way round.
    """

    usd: float
    counted_usd: float
    tokens: Counter[str]
    astray: int
    verdicts: Mapping[str, Any]

    @property
    def usd_per_1000(self) -> float:
        return 1_000 * self.usd / len(self.verdicts)

    def right(self, part: Part) -> tuple[list[bool], list[str]]:
        """Whether each verdict is the label of people, and its case."""
        cases = [name.partition("/")[0] for name in sorted(self.verdicts)]
        verdicts = [self.verdicts[name] for name in sorted(self.verdicts)]
        return [
            said == part.people[case] for said, case in zip(verdicts, cases, strict=True)
        ], cases


@dataclass(frozen=True)
class Table:
    """Cases that are judged in several ways, each of which is a row."""

    title: str
    part: Part
    ways: Sequence[str]

    @property
    def in_day(self) -> bool:
        """Whether the cases are part of the day, whose bill must be halved."""
        return EVERYTHING in self.ways


def tables(every: int, kinds: Sequence[str]) -> list[Table]:
    one = "{} pairs that people labelled ({}), shown in one order, four criteria each"
    both = "{} pairs that people labelled ({}), compared in both orders, one criterion"
    long = "{} long cases without labels, four criteria each"
    parts = [
        *((one, kind, one_order(kind), ONE_ORDER) for kind in kinds),
        *((both, kind, both_orders(kind), BOTH_ORDERS) for kind in kinds),
        (long, "", answers(), LONG),
    ]
    found = []
    for title, kind, part, ways in parts:
        rows = part.rows[::every]
        shown = title.format(len(rows), kind.lower())
        found.append(Table(shown, replace(part, rows=rows), ways))
    return found


def list_prices() -> dict[str, Price]:
    """What the providers ask for, from the locked package of prices."""
    asked = (("https://api.anthropic.com/v1", DEAR), ("https://api.openai.com/v1", CHEAP))
    prices = {}
    for (_, name), found in zip(asked, published(asked), strict=True):
        _, input_, output, read, write = found.prices[0]
        prices[name] = Price(input_, output or 0.0, read or input_, write or input_)
    return prices


@asynccontextmanager
async def judges(
    parts: Sequence[Part], prices: Mapping[str, Price]
) -> AsyncIterator[tuple[ChargingServer, ServiceProcess]]:
    """The server, and a service whose models it is."""
    shown = {
        name: "\n".join(f"{field} = {getattr(price, kind)}" for field, kind in FIELDS.items())
        for name, price in prices.items()
    }
    recorded = {key: said for part in parts for key, said in part.recorded.items()}
    async with ChargingServer(recorded, prices) as server:
        config = CONFIG.format(
            dear_url=server.base_url("anthropic"),
            cheap_url=server.base_url("openai"),
            dear=DEAR,
            cheap=CHEAP,
            dear_prices=shown[DEAR],
            cheap_prices=shown[CHEAP],
        )
        with tempfile.TemporaryDirectory() as folder:
            async with running_service(Path(folder), config, {"COST_KEY": "none"}) as service:
                yield server, service


async def run(
    server: ChargingServer, service: ServiceProcess, part: Part, judge: Mapping[str, Any]
) -> Run:
    """Judge the cases in a batch, with nothing in the provider's cache."""
    server.forget()
    verdicts, counted_usd = await judged(service, part, judge)
    direct = server.asked_directly
    astray = direct if judge.get("service") == "batch" else server.bill["calls"] - direct
    return Run(server.usd, counted_usd, server.bill, astray, verdicts)


async def judged(
    service: ServiceProcess, part: Part, judge: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """The verdicts of a batch by row and criterion, and its cost as the service counts it."""
    batch = {"criteria": part.criteria, "judge": judge, "items": part.rows}
    async with aiohttp.ClientSession(service.url) as session:
        async with session.post("/v1/batches", json=batch) as answer:
            assert answer.status == 201, await answer.text()
            path = f"/v1/batches/{(await answer.json())['id']}"
        status: dict[str, Any] = {"status": "running"}
        while status["status"] == "running":
            await asyncio.sleep(0.2)
            async with session.get(path) as answer:
                status = await answer.json()
        accept = {"Accept": "application/x-ndjson"}
        async with session.get(f"{path}/results", headers=accept) as answer:
            lines = (await answer.text()).splitlines()
    verdicts = {}
    for line in map(json.loads, lines):
        for result in line["results"]:
            verdict = result["value"] if result["status"] == "scored" else result["reason"]
            verdicts[f"{line['item_id']}/{result['name']}"] = verdict
    return verdicts, status["cost_usd"]


async def measured(every: int, kinds: Sequence[str] = KINDS) -> tuple[dict[str, Any], list[str]]:
    """All figures, and what is wrong with them."""
    day = tables(every, kinds)
    async with judges([table.part for table in day], list_prices()) as place:
        runs = [
            {name: await run(*place, table.part, WAYS[name]) for name in table.ways}
            for table in day
        ]
    faults = [
        f"{table.title}: {fault}"
        for table, by_name in zip(day, runs, strict=True)
        for fault in found_wrong(by_name)
    ]
    off, on = (
        sum(by_name[name].usd for table, by_name in zip(day, runs, strict=True) if table.in_day)
        for name in (DEAR_ALONE, EVERYTHING)
    )
    if on / off > RATIO_MAX:
        faults.append(f"{EVERYTHING} cost {on / off:.0%} of the day")
    listed = known_models().prices
    return {
        "prices": f"{listed.package} {listed.version}, {listed.date}",
        "cases": sum(len(table.part.rows) for table in day if table.in_day),
        "ratio": round(on / off, 3),
        "tables": [
            {
                "title": table.title,
                "rows": [
                    row(name, each, by_name[DEAR_ALONE], table.part)
                    for name, each in by_name.items()
                ],
            }
            for table, by_name in zip(day, runs, strict=True)
        ],
    }, faults


def found_wrong(runs: Mapping[str, Run]) -> Iterator[str]:
    """Verdicts that a saving must not change, bills that differ, and calls that went astray.

    Sharing calls and jobs ask the same judge the same things. Another judge may say otherwise.
    """
    for name, each in runs.items():
        same = name if name == CHEAP_ALONE else CASCADE if "cascade" in WAYS[name] else DEAR_ALONE
        if count := differ(runs[same], each):
            yield f"{name}: {count} verdicts differ"
        if abs(each.usd - each.counted_usd) > each.usd / 1_000:
            yield f"{name}: charged {each.usd:.4f}, counted {each.counted_usd:.4f}"
        if each.astray:
            yield f"{name}: {each.astray} calls did not go by their service"


def differ(one: Run, other: Run) -> int:
    assert one.verdicts.keys() == other.verdicts.keys()
    return sum(other.verdicts[name] != verdict for name, verdict in one.verdicts.items())


def row(name: str, each: Run, alone: Run, part: Part) -> dict[str, Any]:
    tokens = {kind: each.tokens[kind] for kind in ("calls", "input", "read", "write", "output")}
    return {
        "name": name,
        "usd_per_1000": round(each.usd_per_1000, 2),
        "share": round(each.usd / alone.usd, 3),
        **tokens,
        "differing": differ(alone, each),
        **(agreement(each, alone, part) if part.people else {}),
    }


def agreement(each: Run, alone: Run, part: Part) -> dict[str, Any]:
    """The share of verdicts that are the label of people, and how much more that is than alone.

    Both with their intervals. Verdicts on one case are not independent of each other, and
    differences are of the same verdicts. Without any difference there is no interval.
    """
    right, cases = each.right(part)
    share = share_figure(np.array(right), group_codes(cases, len(cases)), CONFIDENCE)
    more = compare_runs(alone.right(part)[0], right, cases, confidence=CONFIDENCE)
    figures = {"agreement": share, "difference": more.difference}
    return {
        name: [round(value, 3) for value in (figure.value or 0.0, *(figure.interval or ()))]
        for name, figure in figures.items()
    } | {"changes": [len(more.regressions), len(more.improvements)]}


COLUMNS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "usd_per_1000": ("USD for 1,000 verdicts", "{:.2f}".format),
    "share": ("of dear judge alone", "{:.0%}".format),
    "agreement": ("agreement with people, %", lambda figure: shown_figure(figure, ".1f")),
    "difference": ("difference from it, points", lambda figure: shown_figure(figure, "+.1f")),
    "changes": ("agreements lost, gained", lambda counts: "{}, {}".format(*counts)),
    "calls": ("calls", "{:,}".format),
    "input": ("input", "{:,}".format),
    "read": ("read from cache", "{:,}".format),
    "write": ("written to it", "{:,}".format),
    "output": ("output", "{:,}".format),
}
"""The titles of figures, and how each is written."""
LABELLED = ("usd_per_1000", "share", "agreement", "difference", "changes", "calls")
UNLABELLED = ("usd_per_1000", "share", "calls", "input", "read", "write", "output")


def shown_figure(figure: Sequence[float], form: str) -> str:
    """In per cent, with the interval where there is one."""
    value, *interval = (format(100 * number, form) for number in figure)
    if not interval:
        return value if figure[0] else "0"
    return f"{value} ({' to '.join(interval)})"


def shown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown."""
    kinds = LABELLED if "agreement" in rows[0] else UNLABELLED
    lines = [
        f"| | {' | '.join(COLUMNS[kind][0] for kind in kinds)} |",
        "| --- |" + " --: |" * len(kinds),
    ]
    for each in rows:
        cells = " | ".join(COLUMNS[kind][1](each[kind]) for kind in kinds)
        lines.append(f"| {each['name']} | {cells} |")
    return "\n".join(lines)


def written(figures: Mapping[str, Any]) -> str:
    """What the page shows of the figures."""
    shown = "".join(
        f"**{each['title']}:**\n\n{shown_table(each['rows'])}\n\n" for each in figures["tables"]
    )
    return (
        f"At the list prices of {figures['prices']}. Intervals hold {CONFIDENCE:.0%}.\n\n"
        f"{shown}\\* If the provider finds none of them in its cache, which is the worst case.\n\n"
        f"Over all {figures['cases']} cases with four criteria, {EVERYTHING} cost "
        f"**{figures['ratio']:.0%}** of the dear judge alone.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.every < 1:
        parser.error("--every must be at least 1")
    if not DATA.exists():
        print("Skipped: ASSAY_DATA names no folder with recorded data.")  # noqa: T201
        return 0
    figures, faults = asyncio.run(measured(options.every))
    print(written(figures))  # noqa: T201
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)  # noqa: T201
    if options.write and not faults:
        RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + written(figures) + END + rest.partition(END)[2])
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
