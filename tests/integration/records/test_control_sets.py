"""Control sets: labelled cases that workers judge again, on both databases and a real Redis.

The judge answers over real HTTP; time is the test's own.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from assay.batches.control import ControlSets
from assay.bootstrap.batches import build_control_sets, build_worker
from assay.bootstrap.process import Process, open_process
from assay.catalog.control_sets import HOUR_MS
from assay.domain.errors import StoreUnavailable
from assay.domain.events import JudgeDrifted
from assay.settings import Settings, load
from fakes.judges import FAIL, PASS
from fakes.postgres_process import PostgresProcess
from fakes.providers.server import FaultServer
from fakes.recorded_events import RecordedEvents
from fakes.records_api import RecordsApi, ndjson, running_records_api
from fakes.redis_process import RedisProcess
from fakes.service_process import clean_environment
from integration.records.conftest import migrated_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
[redis]
url = "{redis}"
[providers.fake]
dialect = "openai_chat"
base_url = "{provider}"
[models."fake/judge"]
provider = "fake"
name = "judge"
[tenants.two]
batches_open_max = 1
"""
ROWS = 40
WRONG_AT_FIRST = range(4)
CERTIFIED = 4.5 / (ROWS + 1)
CRITERION = "polite"
CRITERIA = [{"type": "rubric", "name": CRITERION, "rubric": "It is polite."}]
JUDGE = {"models": ["fake/judge"]}


def human(number: int) -> bool:
    return number % 2 == 0


class Death(BaseException):
    """The process ends here."""


@dataclass
class World:
    """The service without a worker of its own, and a process that works on rows."""

    api: RecordsApi
    process: Process
    settings: Settings
    provider: FaultServer
    events: RecordedEvents
    control: ControlSets
    wrong: Any = WRONG_AT_FIRST
    time_ms: int = 1_800_000_000_000
    watched: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, body: Any) -> str:
        """The judge's, which differs from people on the rows that are `wrong`."""
        number = int(re.findall(r"case-(\d+)", str(body["messages"][-1]))[-1])
        if self.wrong is None:
            return "I would rather not say."
        return PASS if human(number) != (number in self.wrong) else FAIL

    def sets(self, process: Process | None = None, settings: Settings | None = None) -> ControlSets:
        """What looks after control sets in another worker."""
        process = replace(process or self.process, events=self.events)
        return build_control_sets(settings or self.settings, process, lambda: self.time_ms)

    async def calibrated(self, tenant: str = "one", rows: int = ROWS, **fields: Any) -> Calibrated:
        """An evaluator, and the calibration of its batch over labelled rows."""
        text = self.api.name("text")
        items = [{"id": str(n), "input": text, "output": f"case-{n}"} for n in range(rows)]
        call, name = self.api.ok, self.api.name()
        await call("POST", "/v1/datasets", {"name": name}, tenant=tenant)
        path, options = f"/v1/datasets/{name}/items", {"headers": NDJSON, "tenant": tenant}
        await call("PUT", path, data=ndjson(*items), **options)
        spec = {"name": name, "criteria": CRITERIA, "judge": JUDGE}
        await call("POST", "/v1/evaluators", spec, tenant=tenant)
        made = Calibrated(self, name, tenant)
        await made.label(range(rows), **fields)
        await made.calibrate()
        return made

    @property
    def config(self) -> Path:
        """The file that the service was configured with."""
        return self.settings.server.data_dir.parent / "assay.toml"

    def metric(self, name: str) -> float | None:
        registry = self.process.metrics.registry
        return registry.get_sample_value("assay_judge_drift", {"evaluator": name})


NDJSON = {"Content-Type": "application/x-ndjson"}


@dataclass
class Calibrated:
    """An evaluator and a dataset of one name, and the newest calibration of both."""

    world: World
    name: str
    tenant: str
    calibration: str = ""
    batch: str = ""

    @property
    def path(self) -> str:
        return f"/v1/evaluators/{self.name}/control"

    async def call(self, method: str, path: str, *arguments: Any, **options: Any) -> Any:
        return await self.world.api.ok(method, path, *arguments, tenant=self.tenant, **options)

    async def label(self, numbers: Any, **fields: Any) -> None:
        rows = [
            {
                "item": {"dataset": self.name, "id": str(number)},
                "criterion": CRITERION,
                "annotator": "ann",
                **({"passed": human(number)} | fields),
            }
            for number in numbers
        ]
        await self.call("POST", "/v1/labels", data=ndjson(*rows), headers=NDJSON)

    async def calibrate(self) -> None:
        wanted = {"evaluator": self.name, "dataset": self.name}
        self.batch = (await self.call("POST", "/v1/batches", wanted))["id"]
        await self.ended(self.batch)
        self.calibration = (await self.call("POST", "/v1/calibrations", {"batch": self.batch}))[
            "id"
        ]

    async def ended(self, batch: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                found: dict[str, Any] = await self.call("GET", f"/v1/batches/{batch}")
                if found["status"] not in ("open", "running"):
                    return found
                await asyncio.sleep(0.02)

    async def watch(self, **fields: Any) -> dict[str, Any]:
        wanted = {"calibration": self.calibration, "criterion": CRITERION, **fields}
        self.world.watched.append((self.tenant, self.path))
        found: dict[str, Any] = await self.call("PUT", self.path, wanted)
        return found

    async def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("GET", self.path)
        return found

    async def run(self, control: ControlSets | None = None) -> dict[str, Any]:
        """The control set after a run that is due."""
        control = control or self.world.control
        await control.look()
        running = (await self.shown())["running"]
        await self.ended(running["batch"])
        await control.look()
        return await self.shown()

    async def batches(self) -> list[dict[str, Any]]:
        """Those that were made for the control set."""
        found = await self.call("GET", "/v1/batches")
        return [one for one in found["data"] if one["name"] == "control"
                and one["evaluator"] == f"{self.name}@1"]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def shared(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresProcess | None,
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("control")
    url = await migrated_url(request.param, folder, postgres)
    (folder / "redis").mkdir()
    redis = RedisProcess(folder / "redis", fsync="always")
    try:
        async with FaultServer() as provider:
            config = CONFIG.format(redis=redis.url, provider=provider.base_url("openai"))
            async with running_records_api(folder, url, config, work=False) as api:
                settings = await asyncio.to_thread(load, folder / "assay.toml", {})
                async with open_process(settings) as process:
                    worker = build_worker(settings.batches, process)
                    worker.start()
                    events = RecordedEvents()
                    world = World(api, process, settings, provider, events, None)  # type: ignore[arg-type]
                    provider.answer = world.answer
                    yield world
                    await worker.stop()
    finally:
        redis.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared: World) -> AsyncIterator[World]:
    """A world without control sets, whose judge is as it was at first."""
    shared.wrong, shared.watched, shared.events.events = WRONG_AT_FIRST, [], []
    shared.control = shared.sets()
    yield shared
    for tenant, path in shared.watched:
        await shared.api.call("DELETE", path, tenant=tenant)


async def test_a_set_is_judged_on_schedule(world: World):
    """Only its labelled rows, in a batch that is called control, once in its time; no alarm."""
    made = await world.calibrated()
    control = await made.watch(every_h=2)
    assert control["certified"] == CERTIFIED
    assert control["worse"] == 2 * CERTIFIED
    assert (control["rows"], control["statistic"], control["runs"]) == (ROWS, 0, [])
    assert control["sets_to_false_alarm"] >= 1_000
    control = await made.run()
    [run] = control["runs"]
    assert (run["rows"], run["disagreements"], run["left_out"], run["note"]) == (ROWS, 4, 0, "")
    assert (control["cases"], control["alarm"], control["running"]) == (ROWS, False, None)
    [batch] = await made.batches()
    assert (batch["id"], batch["metadata"]) == (run["batch"], {"control": control["id"]})
    world.time_ms += 2 * HOUR_MS - 1
    await world.control.look()
    assert (await made.shown())["running"] is None
    world.time_ms += 1
    control = await made.run()
    assert (control["cases"], len(control["runs"])) == (2 * ROWS, 2)
    assert world.events.of(JudgeDrifted) == []


async def test_a_judge_that_got_worse_raises_the_alarm(world: World):
    """The chart says since which run, the event comes once, and a new calibration resets it."""
    made = await world.calibrated()
    await made.watch(every_h=1)
    await made.run()
    world.wrong = range(24)
    world.time_ms += HOUR_MS
    control = await made.run()
    assert control["alarm"]
    assert control["statistic"] >= control["limit"]
    assert control["runs"][0]["disagreements"] == 24
    assert control["since"]["batch"] in {run["batch"] for run in control["runs"]}
    world.time_ms += HOUR_MS
    again = await made.run()
    assert (again["cases"], again["since"]) == (control["cases"], control["since"])
    assert len(again["runs"]) == 3
    [event] = world.events.of(JudgeDrifted)
    assert (event.batch_id, event.since_batch) == (
        control["runs"][0]["batch"], control["since"]["batch"],
    )  # fmt: skip
    world.wrong = range(6)
    await made.calibrate()
    control = await made.watch()
    assert (control["alarm"], control["cases"], control["runs"]) == (False, 0, [])
    assert control["certified"] == 6.5 / (ROWS + 1)


async def test_the_gauge_follows_what_is_stored(world: World):
    """In each process that looks, and back to 0 where the control set is gone."""
    made = await world.calibrated()
    control = build_control_sets(world.settings, world.process, lambda: world.time_ms)
    await made.watch()
    assert world.metric(made.name) is None
    world.wrong = range(30)
    await made.run(control)
    await control.look()
    assert world.metric(made.name) == 1
    await made.call("DELETE", made.path)
    await control.look()
    assert world.metric(made.name) == 0
    assert (await world.api.call("GET", made.path))[0] == 404


async def test_a_changed_judge_is_looked_at_once(world: World, tmp_path: Path):
    """Two workers with different models do not take turns: each revision has its run."""
    made = await world.calibrated()
    await made.watch(every_h=24)
    first = await made.run()
    changed = tmp_path / "assay.toml"
    changed.write_text(
        world.config.read_text().replace('name = "judge"\n[tenants', 'name = "new"\n[tenants')
    )
    settings = await asyncio.to_thread(load, changed, {})
    async with open_process(settings) as process:
        newer = world.sets(process, settings)
        world.time_ms += 60_000
        control = await made.run(newer)
        assert len(control["runs"]) == 2
        assert control["runs"][0]["revision"] != first["runs"][0]["revision"]
        results = await made.call("GET", f"/v1/batches/{made.batch}/results")
        assert results["data"][0]["evaluator"]["revision"] == first["runs"][0]["revision"]
        for each in (world.control, newer, world.control):
            await each.look()
            assert (await made.shown())["running"] is None


async def test_two_workers_at_once(world: World):
    """One of them makes the batch, and it counts once."""
    made = await world.calibrated()
    await made.watch()
    both = (world.sets(), world.sets())
    await asyncio.gather(*(each.look() for each in both))
    [batch] = await made.batches()
    await made.ended(batch["id"])
    await asyncio.gather(*(each.look() for each in both))
    control = await made.shown()
    assert (control["cases"], len(control["runs"]), len(await made.batches())) == (ROWS, 1, 1)


async def test_a_worker_that_comes_too_late_counts_nothing(world: World):
    """Even without the lease, what another one has accounted for stays as it is."""
    made = await world.calibrated()
    await made.watch()
    await world.control.look()
    await made.ended((await made.batches())[0]["id"])
    stores = await world.process.records.open()
    late = [one for one in await stores.objects.of_all("control", "", 100)
            if one[1].document["evaluator"] == f"{made.name}@1"]  # fmt: skip
    await world.control.look()
    control = await made.shown()
    [(tenant, stored)] = late
    await world.control._look_after(stores, tenant, stored)
    assert await made.shown() == control
    assert control["cases"] == ROWS


class Dying:
    """Stores whose process dies at the change with this number, before or after it is made."""

    def __init__(self, inner: Any, number: int, *, before: bool) -> None:
        self._inner, self._number, self._before = inner, number, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def change(self, *arguments: Any, **options: Any) -> Any:
        self._number -= 1
        if self._number == 0 and self._before:
            raise Death
        made = await self._inner.change(*arguments, **options)
        if self._number == 0:
            raise Death
        return made


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_whatever_dies_a_run_counts_once(world: World, number: int, before: bool):
    """At its note, once its batch is made, or at the accounting: no batch is left, none is lost."""
    made = await world.calibrated()
    await made.watch()
    stores = await world.process.records.open()
    dying = replace(stores, objects=Dying(stores.objects, number, before=before))

    async def open_stores() -> Any:
        return dying

    victim = world.sets()
    victim._open_stores = open_stores

    async def work() -> None:
        await victim.look()
        await made.ended((await made.batches())[0]["id"])
        await victim.look()

    with pytest.raises(Death):
        await work()
    async with asyncio.timeout(30):
        while not (control := await made.shown())["runs"]:
            await world.control.look()
            await asyncio.sleep(0.02)
    assert (control["cases"], len(control["runs"]), control["running"]) == (ROWS, 1, None)
    [batch] = await made.batches()
    assert (batch["id"], batch["status"]) == (control["runs"][0]["batch"], "completed")


KILLED = """
import asyncio, os, signal, sys
from dataclasses import replace
from pathlib import Path
from assay.bootstrap.batches import build_control_sets
from assay.bootstrap.process import open_process
from assay.settings import load
from assay.store.idempotency.leases import RedisIdempotency

class Objects:
    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def change(self, *_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    settings = load(Path(sys.argv[1]), {})
    async with open_process(settings) as process:
        stores = await process.records.open()
        async def open_stores():
            return replace(stores, objects=Objects(stores.objects))
        control = build_control_sets(settings, process)
        control._open_stores = open_stores
        control._leases = RedisIdempotency(process.redis, process.supervisor, lease_s=0.5)
        await control.look()

asyncio.run(main())
"""


async def test_kill_9_between_the_end_and_the_accounting(world: World):
    """The lease lapses, and the next worker accounts for the run, once."""
    made = await world.calibrated()
    await made.watch()
    await world.control.look()
    await made.ended((await made.batches())[0]["id"])
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(world.config), env=clean_environment(),
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await killed.wait() == -signal.SIGKILL
    async with asyncio.timeout(30):
        while not (control := await made.shown())["runs"]:
            await world.control.look()
            await asyncio.sleep(0.05)
    assert (control["cases"], len(control["runs"]), len(await made.batches())) == (ROWS, 1, 1)


async def test_what_says_nothing_is_no_agreement(world: World):
    """A run that is cancelled, deleted or mostly unscored is told, and the chart stays."""
    made = await world.calibrated()
    await made.watch(every_h=1)
    for number, status in enumerate(("cancelled", "deleted", "completed")):
        world.time_ms += HOUR_MS
        world.wrong = None if status == "completed" else WRONG_AT_FIRST
        world.provider.latency_s = 0.0 if status == "completed" else 0.5
        await world.control.look()
        batch = (await made.shown())["running"]["batch"]
        if status == "cancelled":
            await made.call("POST", f"/v1/batches/{batch}/cancel")
        elif status == "deleted":
            await made.call("DELETE", f"/v1/batches/{batch}")
        else:
            await made.ended(batch)
        await world.control.look()
        control = await made.shown()
        run = control["runs"][0]
        assert (run["batch"], run["rows"], run["left_out"]) == (batch, 0, ROWS)
        told = f"only 0 of {ROWS} rows" if status == "completed" else f"its batch is {status}"
        assert told in run["note"]
        assert (control["cases"], control["running"], len(control["runs"])) == (0, None, number + 1)


async def test_erased_rows_are_left_out(world: World):
    """Before a run: they are not judged, and told."""
    made = await world.calibrated()
    await made.watch()
    await world.api.ok("POST", "/v1/erasures", {"item": "0"})
    control = await made.run()
    [run] = control["runs"]
    assert (run["rows"], run["disagreements"], run["left_out"]) == (ROWS - 1, 3, 1)


async def test_without_its_evaluator_a_set_is_gone(world: World):
    """Also if another one of the same name comes."""
    made = await world.calibrated()
    await made.watch()
    await made.call("DELETE", f"/v1/evaluators/{made.name}?erase=true")
    spec = {"name": made.name, "criteria": CRITERIA, "judge": JUDGE}
    await made.call("POST", "/v1/evaluators", spec)
    assert (await world.api.call("GET", made.path))[0] == 404
    await world.control.look()
    stores = await world.process.records.open()
    names = [one.document["evaluator"] for _, one in
             await stores.objects.of_all("control", "", 100)]  # fmt: skip
    assert f"{made.name}@1" not in names
    wanted = {"calibration": made.calibration, "criterion": CRITERION}
    status, problem = await world.api.call("PUT", made.path, wanted)
    assert (status, problem["errors"][0]["pointer"]) == (422, "/calibration")


async def test_without_its_dataset_a_set_says_so(world: World):
    """No run begins, and without its calibration it goes on."""
    made = await world.calibrated()
    await made.watch(every_h=1)
    await made.call("DELETE", f"/v1/calibrations/{made.calibration}")
    assert len((await made.run())["runs"]) == 1
    await made.call("DELETE", f"/v1/datasets/{made.name}")
    world.time_ms += HOUR_MS
    await world.control.look()
    control = await made.shown()
    assert control["problem"] == f"The dataset {made.name}@1 is gone."
    assert (control["running"], len(control["runs"])) == (None, 1)


async def test_the_tenants_limits_hold(world: World):
    """A set whose batch would be one too many waits and says why; then it runs."""
    made = await world.calibrated(tenant="two")
    blocking = await made.call("POST", "/v1/batches", {"criteria": CRITERIA})
    await made.watch()
    await world.control.look()
    control = await made.shown()
    assert "1 open batches" in control["problem"]
    assert control["running"] is None
    await made.call("DELETE", f"/v1/batches/{blocking['id']}")
    control = await made.run()
    assert (control["problem"], len(control["runs"])) == (None, 1)


async def test_runs_count_in_usage(world: World):
    """As all calls of the tenant do."""
    made = await world.calibrated()
    await made.watch()

    async def calls() -> int:
        await world.process.usage.flush()
        usage = await world.api.ok("GET", "/v1/usage")
        return sum(one["calls"] for one in usage["data"])

    before = await calls()
    await made.run()
    assert await calls() == before + ROWS


REFUSED: dict[str, tuple[Callable[[Calibrated], dict[str, Any]], str, str]] = {
    "unknown calibration": (
        lambda _: {"calibration": "calibration_0", "criterion": CRITERION},
        "/calibration", "no such calibration",
    ),
    "no calibration": (lambda _: {"criterion": CRITERION}, "/calibration", "is required"),
    "unknown criterion": (lambda made: wanted(made, criterion="x"), "/criterion", "no criterion"),
    "too often": (lambda made: wanted(made, every_h=0.5), "/every_h", "greater than or equal to 1"),
    "worse is better": (lambda made: wanted(made, worse=0.1), "/worse", "at least 0.01 above"),
    "no rate": (lambda made: wanted(made, worse=1.0), "/worse", "less than 1"),
}  # fmt: skip


def wanted(made: Calibrated, **fields: Any) -> dict[str, Any]:
    return {"calibration": made.calibration, "criterion": CRITERION, **fields}


async def refused(world: World, path: str, document: Any, pointer: str, told: str) -> None:
    """The request is refused with the place of its fault, and nothing is kept."""
    status, problem = await world.api.call("PUT", path, document)
    assert status == 422, problem
    assert problem["errors"][0]["pointer"] == pointer, problem
    assert told in problem["errors"][0]["message"], problem
    assert (await world.api.call("GET", path))[0] == 404


async def test_bad_requests_name_their_field(world: World):
    """Each fault has its place; another tenant has no such evaluator."""
    made = await world.calibrated()
    for document, pointer, told in REFUSED.values():
        await refused(world, made.path, document(made), pointer, told)
    assert (await world.api.call("PUT", made.path, wanted(made), tenant="two"))[0] == 404
    assert (await world.api.call("DELETE", made.path))[0] == 404
    other = await world.calibrated(rows=2)
    await refused(world, other.path, wanted(made), "/calibration", "is not of the evaluator")
    await refused(world, other.path, wanted(other), "/calibration", "has 2 labelled rows")


async def test_what_cannot_be_watched_is_refused(world: World):
    """No labels of a usable kind, labels that changed, rows that were erased, a useless judge."""
    scores = await world.calibrated(passed=None, score=0.5)
    await refused(world, scores.path, wanted(scores), "/criterion", "has no report")
    made = await world.calibrated()
    await made.label([0], passed=False)
    await refused(world, made.path, wanted(made), "/calibration", "have changed or were erased")
    made = await world.calibrated()
    await world.api.ok("POST", "/v1/erasures", {"item": "7"})
    await refused(world, made.path, wanted(made), "/calibration", "have changed or were erased")
    world.wrong = range(30)
    made = await world.calibrated()
    await refused(world, made.path, wanted(made), "/criterion", "differs from people in 74%")
    world.wrong = WRONG_AT_FIRST
    made = await world.calibrated()
    await made.call("DELETE", f"/v1/batches/{made.batch}")
    await refused(world, made.path, wanted(made), "/calibration", "its batch is gone")


async def test_an_outage_is_waited_for(world: World):
    """Without Redis a look ends with what it is, and the task goes on."""
    made = await world.calibrated()
    await made.watch()

    class Away:
        async def claim(self, *_: Any) -> Any:
            raise StoreUnavailable("away")

    away = world.sets()
    away._leases = Away()  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable):
        await away.look()
    assert (await made.shown())["running"] is None
