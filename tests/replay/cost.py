"""What a recorded day of requests costs, with each saving and without any.

    bin/cost [--every N] [--write]

Runs the day through real batches of a real service, whose judges are a server that answers with
recorded verdicts and charges tokens by list prices. Prints the bills. Fails where a saving changes
a verdict, where the service counts another bill than the server, where a call takes another way
than its `service`, or where less than half is saved.
`--every N` takes each Nth case; `--write` writes bench/results/cost.json and docs/cost.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from assay.bootstrap.prices import published
from assay.settings.known_models import known_models
from fakes.service_process import ServiceProcess, running_service
from replay.charging_server import ChargingServer, Price
from replay.day import CHEAP, DEAR, Part, answers, natural_pairs, pairs
from replay.recordings import DATA

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "bench" / "results" / "cost.json", ROOT / "docs" / "cost.md"
BEGIN, END = "<!-- Written by `bin/cost --write`. -->\n", "<!-- End. -->"
RATIO_MAX = 0.5
COLUMNS = (
    *("USD for 1,000 verdicts", "of before", "calls", "input", "read from cache"),
    *("written to it", "output", "agreement with people", "verdicts that differ"),
)
SAVINGS: Mapping[str, Mapping[str, Any]] = {
    "one call a criterion": {"prefix_cache": False},
    "prefix cache": {},
    "shared calls": {"batch_criteria": True},
    "batch API": {"service": "batch"},
    "batch API, marked prefixes*": {"service": "batch", "prefix_cache": True},
    "everything on": {"batch_criteria": True, "service": "batch"},
}
"""The fields of `judge` that make the difference.

Criteria that share a call leave nothing for the prefix cache, which is on all the same.
"""
OFF, ON = "one call a criterion", "everything on"
CASCADE = {
    "cascade": {
        "tiers": [{"models": ["cheap"], "samples": 2}, {"models": ["dear"]}],
        "thresholds": [1.0, 0.0],
        "otherwise": "last",
    }
}
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

    def agreement(self, part: Part) -> float | None:
        """The share of verdicts that are the label of people; None where there is none."""
        right = [
            verdict == part.people[name.partition("/")[0]]
            for name, verdict in self.verdicts.items()
            if name.partition("/")[0] in part.people
        ]
        return sum(right) / len(right) if right else None


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
    server: ChargingServer,
    service: ServiceProcess,
    parts: Sequence[Part],
    judge: Mapping[str, Any],
) -> Run:
    """Judge the cases in batches, with nothing in the provider's cache."""
    server.forget()
    done = [await judged(service, part, judge) for part in parts]
    verdicts = {name: verdict for part, _ in done for name, verdict in part.items()}
    counted_usd = sum(usd for _, usd in done)
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


async def measured(every: int) -> tuple[dict[str, Any], list[str]]:
    """All figures, and what is wrong with them."""
    prices = list_prices()
    day = [thinned(part, every) for part in (answers(), pairs())]
    natural = thinned(natural_pairs(), every)
    async with judges([*day, natural], prices) as place:
        runs = {
            name: await run(*place, day, {"models": ["dear"], **saving})
            for name, saving in SAVINGS.items()
        }
        alone = await run(*place, [natural], {"models": ["dear"]})
        cascades = {
            "cascade": await run(*place, [natural], CASCADE),
            "cascade and batch API": await run(*place, [natural], {**CASCADE, "service": "batch"}),
        }
    differing = {name: differ(runs[OFF], each) for name, each in runs.items()}
    postponed = differ(*cascades.values())
    ratio = runs[ON].usd / runs[OFF].usd
    faults = [
        f"{name}: {count} verdicts differ"
        for name, count in {**differing, "cascade and batch API": postponed}.items()
        if count
    ]
    for name, each in {**runs, "dear alone": alone, **cascades}.items():
        if abs(each.usd - each.counted_usd) > each.usd / 1_000:
            faults.append(f"{name}: charged {each.usd:.4f}, counted {each.counted_usd:.4f}")
        if each.astray:
            faults.append(f"{name}: {each.astray} calls did not go by their service")
    if ratio > RATIO_MAX:
        faults.append(f"everything on costs {ratio:.0%}")
    [_, labelled] = day
    rows = [
        row(name, each, runs[OFF], each.agreement(labelled), differing[name])
        for name, each in runs.items()
    ]
    pair_rows = [
        row(name, each, alone, each.agreement(natural), differ(alone, each))
        for name, each in {"dear judge alone": alone, **cascades}.items()
    ]
    listed = known_models().prices
    return {
        "prices": f"{listed.package} {listed.version}, {listed.date}",
        "cases": sum(len(part.rows) for part in day),
        "verdicts": len(runs[OFF].verdicts),
        "day": rows,
        "ratio": round(ratio, 3),
        "pairs": pair_rows,
    }, faults


def thinned(part: Part, every: int) -> Part:
    return replace(part, rows=part.rows[::every])


def differ(one: Run, other: Run) -> int:
    assert one.verdicts.keys() == other.verdicts.keys()
    return sum(other.verdicts[name] != verdict for name, verdict in one.verdicts.items())


def row(
    name: str, each: Run, before: Run, agreement: float | None, differing: int
) -> dict[str, Any]:
    return {
        "name": name,
        "usd_per_1000": round(each.usd_per_1000, 2),
        "share": round(each.usd / before.usd, 3),
        "calls": each.tokens["calls"],
        "input": each.tokens["input"],
        "read": each.tokens["read"],
        "write": each.tokens["write"],
        "output": each.tokens["output"],
        "agreement": None if agreement is None else round(agreement, 3),
        "differing": differing,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        f"| | {' | '.join(COLUMNS)} |",
        "| --- |" + " --: |" * len(COLUMNS),
    ]
    for each in rows:
        counts = " | ".join(
            f"{each[kind]:,}" for kind in ("calls", "input", "read", "write", "output")
        )
        agreed = "" if each["agreement"] is None else f"{each['agreement']:.1%}"
        lines.append(
            f"| {each['name']} | {each['usd_per_1000']:.2f} | {each['share']:.0%} | {counts} "
            f"| {agreed} | {each['differing']} |"
        )
    return "\n".join(lines)


def written(figures: Mapping[str, Any]) -> str:
    """What the page shows of the figures."""
    return (
        f"A day of {figures['cases']} cases and {figures['verdicts']:,} verdicts, at the list "
        f"prices of {figures['prices']}:\n\n{table(figures['day'])}\n\n"
        f"Everything on costs **{figures['ratio']:.0%}** of everything off.\n\n"
        f"A hundred pairs that people labelled, each judged in both orders:\n\n"
        f"{table(figures['pairs'])}\n\n"
        "\\* If the provider finds none of them in its cache, which is the worst case.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
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
