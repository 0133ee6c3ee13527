"""What one Redis, one PostgreSQL and many pods carry: unit costs, and the model against a run.

One service at a time gives the unit costs of a request; a worker alone gives those of a row. Then
three services and the worker run together, and the model has to foresee what they do.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import payloads
import processes
import report
import rows
from contest import assay_orders
from load import Outcome
from load_model import (
    DAY_S,
    Capacities,
    Load,
    Needs,
    UnitCosts,
    needs,
    size_and_judgements,
    walls,
)
from options import Options
from processes import Server
from quota_retries import Simulation
from records import database_bytes
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from assay.domain.batches import NewBatch, StoredResult
from assay.domain.policy import Quota
from assay.domain.supervision import Supervisor
from assay.records.database import Database
from assay.records.runs import RecordedRuns
from assay.resilience.quota.quotas import Quotas
from assay.resilience.quota.reservations import ReservationRequest
from assay.store.batches.keys import BatchKeys

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from fakes.postgres_process import PostgresProcess, postgres_programs
from fakes.recorded_events import RecordedEvents

SERVICES = 3
DELAY_S = 0.02
CALLERS, CALM_CALLERS = 48, 2
"""A process with little to do shares no calls to Redis, so that a judgement costs more there."""
WARM_S = 0.8
IDLE_S = 5.0
"""Each process reads its gauges once in this time."""
WORKER_ROWS = 6
"""Few, so that the rows take a part of the machine and the requests have the rest."""
ROWS, ROWS_QUICK = 12_000, 3_000
SIZES_MB = (2 / 1_024, 0.25)
JUDGEMENTS = (1, 3)
CHECKED = (16 / 1_024, 2)
"""Size and judgements of the run that checks the model: between those of the unit costs."""
RUN_ROWS, RUN_ROWS_QUICK = 20_000, 2_000
AT_ONCE = 200
OWNERS = 100
"""Processes that wait for one quota in the measurement of the reservation."""
PODS = (10, 100, 1_000)
SCRIPT_CALLS = 300
SIMULATED_S = 2.0


@dataclass
class Fleet:
    """The processes, and what each of them has done so far."""

    services: Sequence[Server]
    worker: Server
    provider: Server
    redis: Server
    client: Redis

    def seen(self) -> dict[str, float]:
        with ThreadPoolExecutor(SERVICES) as pool:  # at once: a busy service answers late
            pattern = r"requests_total\{.*\"/v1/evaluations\""
            requests = list(pool.map(lambda it: _metric(it, pattern), self.services))
        stats = self.client.info("stats")
        scripts = self.client.info("commandstats").get("cmdstat_evalsha", {})
        return {
            "seconds": time.perf_counter(),
            "requests": sum(requests),
            "rows": _metric(self.worker, r"batch_rows_total\{"),
            "services_s": sum(it.cpu_s for it in self.services),
            "worker_s": self.worker.cpu_s,
            "provider_s": self.provider.cpu_s,
            "redis_s": self.redis.cpu_s,
            "scripts": scripts.get("calls", 0),
            "scripts_us": scripts.get("usec", 0),
            "commands": stats["total_commands_processed"],
            "bytes": stats["total_net_input_bytes"] + stats["total_net_output_bytes"],
            "memory": self.client.info("memory")["used_memory"],
            "machine_s": _machine_s(),
        }

    def window(
        self, seconds: float, case: str, services: Sequence[Server], callers: int = CALLERS
    ) -> dict[str, float]:
        """What happens within `seconds` while these services are called."""
        orders = [
            assay_orders(it, case, connections=callers, seconds=seconds + 2 * WARM_S)
            for it in services
        ]
        with ThreadPoolExecutor(max(len(orders), 1)) as pool:
            loads = [pool.submit(processes.load, order) for order in orders]
            time.sleep(WARM_S)
            before = self.seen()
            degraded = [self._degraded() for _ in range(round(2 * seconds)) if not time.sleep(0.5)]
            after = self.seen()
            outcomes = [it.result() for it in loads]
        found = {name: after[name] - before[name] for name in after}
        found["degraded_share"] = sum(degraded) / len(degraded)
        found["generator_s"] = sum(map(_right_cpu_s, outcomes)) * found["requests"]
        if outcomes:
            found["generator_s"] /= len(outcomes)
        return found

    def _degraded(self) -> float:
        """The share of the services that keep their quota without Redis, which is too slow."""
        return sum(_metric(it, "quota_degraded") for it in self.services) / len(self.services)


def _right_cpu_s(outcome: Outcome) -> float:
    """The generator's CPU for a request; raises if an answer was wrong."""
    if outcome.right != sum(outcome.statuses.values()):
        raise RuntimeError(f"wrong answers: {outcome}")
    return outcome.generator_cpu_s / outcome.right


def _metric(server: Server, pattern: str) -> float:
    url = f"http://127.0.0.1:{server.metrics_port or server.port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    return sum(map(float, re.findall(rf"^assay_{pattern}.* (\S+)$", text, re.MULTILINE)))


def _machine_s() -> float:
    """CPU time of all processes of the machine so far."""
    numbers = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")


def _case(folder: Path, size_mb: float, judgements: int) -> str:
    document = orjson.loads(payloads.evaluation(payloads.prose(round(size_mb * payloads.MB))))
    document["criteria"] = [
        {"type": "rubric", "name": f"c{number}", "rubric": f"{payloads.RUBRIC} ({number})"}
        for number in range(judgements)
    ]
    return payloads.written(folder, f"case-{size_mb:.4f}-{judgements}.json", orjson.dumps(document))


def scale(options: Options, folder: Path) -> None:
    """Measure the unit costs, check the model with four processes, and show the walls."""
    seconds = 1.0 if options.quick else 3.0
    with ExitStack() as stack:
        provider = stack.enter_context(processes.stub(folder, DELAY_S))
        redis = stack.enter_context(processes.redis(folder))
        services = []
        for number in range(SERVICES):
            home = folder / str(number)
            home.mkdir()
            service = processes.assay(home, provider, redis, worker_rows=WORKER_ROWS, slots=512)
            services.append(stack.enter_context(service))
        worker = stack.enter_context(processes.worker(folder / "0"))
        fleet = Fleet(services, worker, provider, redis, Redis(port=redis.port))
        measured, bodies = _windows(fleet, folder, seconds, options)
        scripts = asyncio.run(_reservations(redis.port))
    postgres = _postgres(bodies, RUN_ROWS_QUICK if options.quick else RUN_ROWS)
    costs = _costs(measured, postgres)
    checks = _checked(costs, measured)
    table = [("", "model", "measured", "model ÷ measured")]
    table += [(name, f"{a:,.2f}", f"{b:,.2f}", f"{a / b:.2f}") for name, a, b in checks]
    report.show(
        "scale: three services and a worker on one Redis", table,
        [
            f"bound of the callers: {SERVICES * CALLERS / DELAY_S:,.0f} requests/s",
            f"CPU of other work on this machine: {measured['other_cores']:.2f} cores",
            f"quota kept without Redis: {measured['together']['degraded_share']:.0%} of the time",
        ],
    )  # fmt: skip
    report.show(
        "scale: unit costs", [("", "")] + [(k, f"{v:,.3f}") for k, v in asdict(costs).items()]
    )
    calm = _calm(costs, measured, scripts["alone"])
    table = [("", "µs"), ("of a busy process", f"{costs.redis_judgement_us:.0f}")]
    table.append(("of one with little to do", f"{calm.redis_judgement_us:.0f}"))
    report.show("scale: Redis CPU for a judgement", table)
    far = {pods: _walls(calm, pods) for pods in PODS}
    for pods, used in far.items():
        report.show(
            f"scale: {pods:,} pods", [("", "used")] + [(n, f"{u:.0%}") for n, u in used[:4]]
        )
    waiting = _waiting(scripts)
    report.keep(
        "scale",
        {
            "unit_costs": asdict(costs), "unit_costs_calm": asdict(calm),
            "windows": measured, "reservation_us": scripts,
            "checks": {name: {"model": a, "measured": b} for name, a, b in checks},
            "walls": {str(pods): dict(used) for pods, used in far.items()}, "waiting": waiting,
        },
    )  # fmt: skip


def _windows(
    fleet: Fleet, folder: Path, seconds: float, options: Options
) -> tuple[dict[str, Any], list[bytes]]:
    """What each window showed, and the results of some rows."""
    found: dict[str, Any] = {"idle": fleet.window(IDLE_S, "", [])}
    for size_mb in SIZES_MB:
        for judgements in JUDGEMENTS:
            case = _case(folder, size_mb, judgements)
            found[f"{size_mb:.4f} MB × {judgements}"] = fleet.window(
                seconds, case, fleet.services[:1]
            )
    calm = _case(folder, SIZES_MB[0], 1)
    found["calm"] = fleet.window(2 * seconds, calm, fleet.services[:1], CALM_CALLERS)
    caller = rows.Caller(fleet.services[0].port)
    path = f"/v1/batches/{caller.ask('POST', '/v1/batches', rows.CRITERIA)['id']}"
    count = ROWS_QUICK if options.quick else ROWS
    empty = fleet.seen()["memory"]
    caller.upload(f"{path}/items", rows.rows(count), rows.Watched("API", fleet.services[0]))
    found["waiting_row_bytes"] = (fleet.seen()["memory"] - empty) / count
    caller.ask("POST", f"{path}/start")
    found["rows"] = fleet.window(seconds, "", [])
    case = _case(folder, *CHECKED)
    found["together"] = together = fleet.window(2 * seconds, case, fleet.services)
    keys = BatchKeys(path.rpartition("/")[2])
    found["result_bytes"] = sum(
        fleet.client.memory_usage(key, samples=0) / fleet.client.hlen(key)
        for key in (keys.results(0), keys.ids)
    )
    found["connections"] = fleet.client.info("clients")["connected_clients"] / (SERVICES + 1)
    if caller.ask("GET", path)["status"] != "running":
        raise RuntimeError("the rows ended before the measurement")
    parts = ("services_s", "worker_s", "provider_s", "redis_s", "generator_s")
    ours_s = sum(together[part] for part in parts)
    found["other_cores"] = max(0.0, together["machine_s"] - ours_s) / together["seconds"]
    page = caller.ask("GET", f"{path}/results?limit=100")
    caller.ask("POST", f"{path}/cancel")
    return found, [orjson.dumps(one) for one in page["data"]]


def _costs(measured: dict[str, Any], postgres: dict[str, float]) -> UnitCosts:
    idle, row = measured["idle"], measured["rows"]
    pods = SERVICES + 1
    per_s = {name: value / idle["seconds"] for name, value in idle.items()}
    cpu_ms, judged = {}, dict.fromkeys(("redis_s", "commands", "bytes", "judgements"), 0.0)
    for size_mb in SIZES_MB:
        for judgements in JUDGEMENTS:
            seen = measured[f"{size_mb:.4f} MB × {judgements}"]
            used_s = seen["services_s"] - per_s["services_s"] * seen["seconds"]
            cpu_ms[size_mb, judgements] = used_s * 1e3 / seen["requests"]
            judged["judgements"] += seen["requests"] * judgements
            for name in ("redis_s", "commands", "bytes"):
                judged[name] += seen[name] - per_s[name] * seen["seconds"]
    request, request_mb, judgement, judgement_mb = size_and_judgements(cpu_ms)
    each = {name: value / judged["judgements"] for name, value in judged.items()}
    of_row = {
        name: (row[name] - per_s[name] * row["seconds"]) / row["rows"] - each.get(name, 0.0)
        for name in ("redis_s", "commands", "bytes", "worker_s")
    }
    return UnitCosts(
        request_cpu_ms=request,
        request_cpu_ms_per_mb=request_mb,
        judgement_cpu_ms=judgement,
        judgement_cpu_ms_per_mb=judgement_mb,
        row_cpu_ms=of_row["worker_s"] * 1e3 - judgement - judgement_mb * SIZES_MB[0],
        pod_cpu_cores=(per_s["services_s"] + per_s["worker_s"]) / pods,
        redis_judgement_us=each["redis_s"] * 1e6,
        redis_row_us=of_row["redis_s"] * 1e6,
        redis_pod_us_per_s=per_s["redis_s"] * 1e6 / pods,
        redis_judgement_commands=each["commands"],
        redis_row_commands=of_row["commands"],
        redis_pod_commands_per_s=per_s["commands"] / pods,
        redis_judgement_bytes=each["bytes"],
        redis_row_bytes=of_row["bytes"],
        redis_pod_bytes_per_s=per_s["bytes"] / pods,
        redis_pod_connections=measured["connections"],
        redis_waiting_row_memory_bytes=measured["waiting_row_bytes"],
        redis_result_memory_bytes=measured["result_bytes"],
        **postgres,
    )


def _calm(costs: UnitCosts, measured: dict[str, Any], script_us: float) -> UnitCosts:
    """With judgements that share no calls: the most that those of many calm processes take.

    They make as many script calls as a calm process did. Each takes what a reservation takes, and
    what a busy Redis does for a call beside its script, which is for several judgements there.
    """
    seen, idle = measured["calm"], measured["idle"]
    scripts, commands, size = (
        (seen[name] - idle[name] * seen["seconds"] / idle["seconds"]) / seen["requests"]
        for name in ("scripts", "commands", "bytes")
    )
    busy = measured[f"{SIZES_MB[0]:.4f} MB × 1"]
    beside_us = (busy["redis_s"] * 1e6 - busy["scripts_us"]) / busy["scripts"]
    return replace(
        costs, redis_judgement_us=scripts * (script_us + beside_us),
        redis_judgement_commands=commands, redis_judgement_bytes=size,
    )  # fmt: skip


def _checked(costs: UnitCosts, measured: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What the model foresees of the four processes, beside what they did.

    The rows that the worker did are given; the requests are what the rest of the cores can carry.
    """
    seen, alone = measured["together"], measured["rows"]
    size_mb, judgements = CHECKED
    seconds = seen["seconds"]
    rows_per_s, requests_per_s = seen["rows"] / seconds, seen["requests"] / seconds
    cores = (os.cpu_count() or 1) - measured["other_cores"]
    outside_ms = (seen["generator_s"] / seen["requests"]) * 1e3
    stub_s = measured["idle"]["provider_s"] / measured["idle"]["seconds"]
    call_ms = (alone["provider_s"] - stub_s * alone["seconds"]) * 1e3 / alone["rows"]

    def foreseen(requests: float) -> tuple[Needs, float]:
        """What the load takes, and the cores with those of the stub and the generator."""
        need = needs(costs, Load(requests, size_mb, judgements, rows_per_s, SERVICES + 1))
        outside = requests * outside_ms + (requests * judgements + rows_per_s) * call_ms
        return need, need.cpu_cores + need.redis_cpu_share + outside / 1e3

    without = foreseen(0.0)[1]
    predicted = (cores - without) / (foreseen(1.0)[1] - without)
    need = foreseen(predicted)[0]
    # What a service kept for itself did not reach Redis.
    reached = judgements * (1 - seen["degraded_share"])
    redis = needs(costs, Load(predicted, size_mb, reached, rows_per_s, SERVICES + 1))
    used_s = seen["services_s"] + seen["worker_s"]
    return [
        ("requests/s", predicted, requests_per_s),
        ("CPU of the four, cores", need.cpu_cores, used_s / seconds),
        ("Redis CPU, share of a core", redis.redis_cpu_share, seen["redis_s"] / seconds),
        ("Redis commands/s", redis.redis_commands_per_s, seen["commands"] / seconds),
        ("Redis KB/s", redis.redis_bytes_per_s / 1_024, seen["bytes"] / seconds / 1_024),
    ]


def _walls(costs: UnitCosts, pods: int) -> list[tuple[str, float]]:
    """An ordinary load on each pod: 50 requests/s of 16 KB, and a row in ten seconds."""
    load = Load(50.0 * pods, 16 / 1_024, 1, 0.1 * pods, pods, results_kept_s=30 * DAY_S)
    return walls(needs(costs, load), pods, Capacities())


def _waiting(scripts: dict[str, float]) -> dict[str, dict[str, float]]:
    """What one Redis gets from processes with full queues, at quotas of 50 and 500 calls/s."""
    found = {}
    for pods in (1, *PODS[:2]):
        for per_s in (50, 500):
            out = Simulation(pods, 100, per_s * 60, 0.05).run(SIMULATED_S)
            calls_per_s = out.calls_per_answer * out.sent / out.seconds
            us = scripts["alone"] + out.entries_per_reservation * scripts["each_other"]
            found[f"{pods} pods, {per_s}/s"] = {
                "sent_per_s": out.sent / out.seconds, "calls_per_s": calls_per_s,
                "calls_per_answer": out.calls_per_answer, "redis_share": calls_per_s * us / 1e6,
            }  # fmt: skip
    table = [("", "sent/s", "script calls/s", "per answer", "Redis CPU")]
    table += [
        (
            name, f"{it['sent_per_s']:.0f}", f"{it['calls_per_s']:,.0f}",
            f"{it['calls_per_answer']:.1f}", f"{it['redis_share']:.0%}",
        )
        for name, it in found.items()
    ]  # fmt: skip
    report.show("scale: full queues before one quota, simulated", table)
    return found


async def _reservations(port: int) -> dict[str, float]:
    """Microseconds of a reservation alone, and for each other process that waits before it."""
    redis, supervisor = AsyncRedis(port=port), Supervisor(RecordedEvents())
    quota = Quota(requests_per_minute=60.0)

    async def cost_us(owners: int) -> float:
        made = [Quotas(redis, supervisor, budget_s=2.0) for _ in range(owners + 1)]
        asked = [ReservationRequest({"requests": 1.0}, wait_max_s=3_600) for _ in made]
        for quotas, request in zip(made[1:], asked, strict=False):
            await quotas.of(f"scale-{owners}", quota).reserve(request)
        last = made[0].of(f"scale-{owners}", quota)
        before = (await redis.info("commandstats"))["cmdstat_evalsha"]
        for _ in range(SCRIPT_CALLS):
            await last.reserve(ReservationRequest({"requests": 1.0}, wait_max_s=3_600))
        after = (await redis.info("commandstats"))["cmdstat_evalsha"]
        return float(after["usec"] - before["usec"]) / (after["calls"] - before["calls"])

    alone, crowded = await cost_us(0), await cost_us(OWNERS)
    await redis.aclose()
    return {"alone": alone, "each_other": (crowded - alone) / OWNERS}


def _postgres(bodies: list[bytes], count: int) -> dict[str, float]:
    """CPU and bytes of a result in PostgreSQL; zeros where there is none."""
    if (programs := postgres_programs()) is None:
        return {"postgres_row_us": 0.0, "postgres_row_bytes": 0.0}
    with TemporaryDirectory(prefix="assay-postgres-") as home:
        server = PostgresProcess(Path(home), programs)
        try:
            pid = int((Path(home) / "postgres" / "postmaster.pid").read_text().split()[0])
            url = server.new_migrated_database()
            return asyncio.run(_copied(url, bodies, count, lambda: _tree_cpu_s(pid)))
        finally:
            server.stop()


async def _copied(
    url: str, bodies: list[bytes], count: int, cpu_s: Callable[[], float]
) -> dict[str, float]:
    """Copies results as `BatchArchive` does."""
    database = Database(url, embedded=False)
    runs = RecordedRuns(database)
    await runs.create(NewBatch("batch-1", "bench", 0, 0, b"{}", kept=True))
    size, used_s = await database_bytes(database), cpu_s()
    for start in range(0, count, AT_ONCE):
        found = [
            StoredResult(number, str(number), bodies[number % len(bodies)])
            for number in range(start, start + AT_ONCE)
        ]
        await runs.add_results("batch-1", found, start + AT_ONCE)
    used_s = cpu_s() - used_s
    size = await database_bytes(database) - size
    await database.aclose()
    return {"postgres_row_us": used_s * 1e6 / count, "postgres_row_bytes": size / count}


def _tree_cpu_s(pid: int) -> float:
    """CPU time of a process and of its children."""
    found = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parts = (folder / "stat").read_text().rpartition(")")[2].split()
            if pid in (int(folder.name), int(parts[1])):
                found += int((folder / "schedstat").read_text().split()[0]) / 1e9
    return found
