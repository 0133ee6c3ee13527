"""Rows that are judged through a provider's batch API, with the whole service in this process."""

import asyncio
import itertools
import json
from collections import defaultdict

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from assay.records.migrate import migrate
from assay.redis.embedded import socket_path
from fakes.providers.jobs import FAULTS, JobServer, question
from fakes.records_api import pages, running_records_api, until

ROWS = 4
FULL_USD = (120 * 10 + 30 * 100) / 1e6
"""What one call costs at the full price."""
CONFIG = """
[batches]
jobs_poll_s = 0.05
jobs_lost_after_s = 0.2

[tenants.two]
usd_per_day = 0.0001

[providers.jobs]
dialect = "openai_chat"
base_url = "{url}"
batch_api = true
stream = false

[providers.plain]
dialect = "openai_chat"
base_url = "{url}"
stream = false

[models."jobs/small"]
provider = "jobs"
name = "small"
input_usd_per_mtok = 10
output_usd_per_mtok = 100

[models."jobs/large"]
provider = "jobs"
name = "large"
input_usd_per_mtok = 10
output_usd_per_mtok = 100

[models."plain/small"]
provider = "plain"
name = "small"
input_usd_per_mtok = 10
output_usd_per_mtok = 100
"""
OTHERS = """
[providers.{dialect}]
dialect = "{dialect}"
base_url = "{url}"
batch_api = true
stream = false

[models."{dialect}/small"]
provider = "{dialect}"
name = "small"
input_usd_per_mtok = 10
output_usd_per_mtok = 100
"""
MODELS = ("jobs/small", "openai_responses/small", "anthropic/small", "gemini/small")
ASKED_DIRECTLY = {
    **dict.fromkeys(("refused", "failed", "vanished", "malformed"), ROWS),
    **dict.fromkeys(("expired", "errored"), ROWS // 2),
}
"""How many calls of a job with this fault it does not answer."""
BY_BATCH = {"models": ["jobs/small"], "service": "batch"}
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    async with JobServer() as server:
        config = CONFIG.format(url=server.base_url("openai"))
        for dialect in ("anthropic", "gemini", "openai_responses"):
            url = server.base_url(dialect.removesuffix("_responses"))
            config += OTHERS.format(dialect=dialect, url=url)
        records = f"sqlite+aiosqlite:///{folder / 'records.db'}"
        await asyncio.to_thread(migrate, records)
        async with running_records_api(folder, records, config) as api:
            yield api, server, folder / "data"


@pytest.fixture
def api(running):
    return running[0]


@pytest_asyncio.fixture(loop_scope="module")
async def redis(running):
    async with Redis(unix_socket_path=str(socket_path(running[2]))) as client:
        yield client


@pytest.fixture
def provider(running):
    server = running[1]
    server.paid.clear()
    server.direct.clear()
    server.jobs.clear()
    server.cancelled.clear()
    server.polls, server.answer, server.fault = 0, None, "none"
    return server


def rows(count=ROWS):
    return [
        {"id": f"row-{n}", "input": f"question {n}", "output": f"answer {n}"} for n in range(count)
    ]


def wanted(judge=BY_BATCH, criteria=("It is polite.",), **fields):
    return {"criteria": list(criteria), "judge": judge, "items": rows(), **fields}


async def ended(api, batch, tenant="one"):
    path = f"/v1/batches/{batch['id']}"
    async with asyncio.timeout(30):
        while True:
            found = await api.ok("GET", path, tenant=tenant)
            if found["status"] not in ("open", "running"):
                return found, await pages(api, f"{path}/results?", tenant=tenant)
            await asyncio.sleep(0.05)


async def run(api, tenant="one", **fields):
    made = await api.ok("POST", "/v1/batches", wanted(**fields), tenant=tenant)
    return await ended(api, made, tenant)


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/batches", wanted({"models": ["plain/small"], "service": "batch"}), "/judge/service"),
        ("/v1/batches", wanted({"models": ["simulated/judge"], "service": "batch"}),
         "/judge/service"),
        ("/v1/evaluations", {"output": "o", "criteria": ["polite"], "judge": BY_BATCH},
         "/judge/service"),
        ("/v1/comparisons",
         {"input": "i", "output_a": "a", "output_b": "b", "criteria": "r", "judge": BY_BATCH},
         "/judge/service"),
        ("/v1/batches",
         wanted(criteria=[{"type": "rubric", "rubric": "r",
                           "judge": {"models": ["jobs/small"], "service": "interactive"}}]),
         "/criteria/0/judge/service"),
    ],
)  # fmt: skip
async def test_a_service_that_cannot_be_used_is_refused_at_once(api, provider, path, body, pointer):
    """A provider without batch API, a request that is no batch, a criterion with its own service:
    each is a 422 that names the field, and nothing is sent."""
    status, problem = await api.call("POST", path, body)
    assert status == 422, problem
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert not provider.jobs
    assert not provider.direct


async def test_the_forecast_and_the_spending_show_the_lower_price(api, provider):
    """The forecast by jobs is half of the other; the batch and the usage count each call once."""
    full = await api.ok("POST", "/v1/batches?dry_run=true", wanted({"models": ["jobs/small"]}))
    half = await api.ok("POST", "/v1/batches?dry_run=true", wanted())
    assert half["cost_usd"] == pytest.approx(full["cost_usd"] / 2)
    assert half["duration_s"] is None

    before = await spending(api)
    batch, _ = await run(api)
    assert batch["cost_usd"] == pytest.approx(FULL_USD / 2 * ROWS)
    await until(lambda: _spent(api, before, ROWS))
    spent = await spending(api)
    assert spent[1] - before[1] == pytest.approx(FULL_USD / 2 * ROWS)
    assert provider.paid.total() == ROWS


async def is_forgotten(redis):
    """Whether nothing is left in Redis of any call that was put down for a job."""
    names = [name async for name in redis.scan_iter("assay:v1:batch*")]
    parts = (b":call", b":outbox", b":job", b"batches:deferred")
    return not any(part in name for name in names for part in parts)


async def spending(api, model="jobs/small"):
    usage = await api.ok("GET", "/v1/usage?group_by=model")
    found = [row for row in usage["data"] if row["model"] == model]
    return (found[0]["calls"], found[0]["cost_usd"]) if found else (0, 0.0)


async def _spent(api, before, calls, model="jobs/small"):
    return (await spending(api, model))[0] - before[0] >= calls


async def test_samples_are_calls_of_their_own(api, provider):
    """Three samples of a question without a seed are three calls, though they look alike."""
    batch, results = await run(api, judge={**BY_BATCH, "samples": 3})
    assert batch["counts"]["scored"] == ROWS
    assert provider.paid.total() == 3 * ROWS
    assert len(provider.jobs) == 1
    assert not provider.direct
    assert all(len(result["results"][0]["judge"]["votes"]) == 3 for result in results)


async def test_equal_rows_are_calls_of_their_own(api, provider):
    """Two rows with the same content are both answered and both paid."""
    items = [{"id": name, "output": "the same"} for name in ("a", "b")]
    batch, _ = await run(api, items=items)
    assert batch["counts"]["scored"] == 2
    assert provider.paid.total() == 2


async def test_a_cascade_takes_a_round_for_each_tier(api, provider):
    """The second tier is asked in a job of its own, and only where the first one is unsure."""
    tiers = [{"models": ["jobs/small"], "samples": 3}, {"models": ["jobs/large"]}]
    judge = {"service": "batch", "cascade": {"tiers": tiers, "thresholds": [0.9, 0.0]}}
    verdicts = defaultdict(lambda: itertools.cycle(("pass", "fail", "pass")))

    def answer(body):
        verdict = "pass" if body["model"] == "large" else next(verdicts[question(body)])
        return json.dumps({"reasoning": "r", "verdict": verdict})

    provider.answer = answer
    batch, results = await run(api, judge=judge)
    assert batch["counts"]["scored"] == ROWS, results
    sent = [(job.calls[0][1]["model"], len(job.calls)) for job in provider.jobs.values()]
    assert sent == [("small", 3 * ROWS), ("large", ROWS)]
    assert not provider.direct


async def test_an_unreadable_answer_is_repaired_in_another_job(api, provider):
    """The judge is shown its answer and asked again, once for each row, through a second job."""

    def answer(body):
        first = len(body["messages"]) <= 2
        return "hm" if first else json.dumps({"reasoning": "r", "verdict": "pass"})

    provider.answer = answer
    batch, results = await run(api)
    assert [len(job.calls) for job in provider.jobs.values()] == [ROWS, ROWS]
    assert batch["counts"]["scored"] == ROWS, results
    assert batch["cost_usd"] == pytest.approx(FULL_USD / 2 * 2 * ROWS)
    assert not provider.direct


@pytest.mark.parametrize(("judge", "is_marked"), [({}, False), ({"prefix_cache": True}, True)])
async def test_a_job_has_marked_prefixes_only_if_the_caller_wants_them(
    api, provider, judge, is_marked
):
    """One call of a job need not find what another has written. The call that would go first has
    its answer later, so the others are put down in the same round."""
    judge = {"models": ["anthropic/small"], "service": "batch", **judge}
    items = [{"id": "long", "output": "word " * 2_000}]
    criteria = ["It is polite.", "It is short.", "It is true."]
    batch, results = await run(api, judge=judge, items=items, criteria=criteria)
    assert batch["counts"]["scored"] == 1, results
    [job] = provider.jobs.values()
    marked = ["cache_control" in json.dumps(body) for _, body in job.calls]
    assert marked == [is_marked] * len(criteria)


async def test_a_shared_call_that_waits_is_not_split(api, provider):
    """Criteria that share a call wait for it; none of them is asked by itself meanwhile."""
    batch, _ = await run(
        api,
        judge={**BY_BATCH, "batch_criteria": True},
        criteria=["It is polite.", "It is short.", {"type": "contains", "value": "answer"}],
    )
    assert batch["counts"]["scored"] == ROWS
    assert [len(job.calls) for job in provider.jobs.values()] == [ROWS]


async def test_an_output_that_was_made_is_judged_as_it_was_made(api, provider):
    """The output is made once, by a call of its own; the row that waits keeps it."""
    made = {"model": "plain/small", "messages": [{"role": "user", "content": "{{item.input}}"}]}
    dataset = await api.dataset(*({"id": f"r{n}", "input": f"question {n}"} for n in range(ROWS)))
    batch, results = await run(api, generate=made, items=[], dataset=dataset)
    assert batch["counts"]["scored"] == ROWS, results
    assert provider.direct.total() == ROWS
    assert provider.paid.total() == ROWS


async def test_a_daily_cap_holds_before_anything_is_sent(api, provider):
    """A call that could exceed the tenant's cap is not put down for a job."""
    batch, results = await run(api, tenant="two")
    assert batch["counts"]["unscored"] == ROWS
    assert {result["results"][0]["reason"] for result in results} == {"cost_cap_reached"}
    assert not provider.jobs
    assert not provider.direct


async def test_an_erased_row_leaves_nothing_and_its_answer_is_dropped(api, provider):
    """Its call is removed from the outbox; the row ends without a score, the others with one."""
    provider.polls = 1_000_000
    made = await api.ok("POST", "/v1/batches", wanted(items=[
        *rows(), {"id": "secret", "input": "a secret", "output": "of mine"}]))  # fmt: skip
    path = f"/v1/batches/{made['id']}"
    async with asyncio.timeout(30):
        while not provider.jobs or (await api.ok("GET", path))["counts"]["waiting"] <= ROWS:  # noqa: ASYNC110  # it asks over HTTP
            await asyncio.sleep(0.05)
    assert (await api.ok("POST", "/v1/erasures", {"item": "secret"}))["rows"] == 1
    for job in provider.jobs.values():
        job.polls_left = 0
    batch, results = await ended(api, made)
    assert batch["counts"]["scored"] == ROWS
    assert [one["error"]["code"] for one in results if one["status"] == "failed"] == ["row_lost"]
    assert not provider.direct


async def test_a_batch_that_has_ended_keeps_no_calls(api, provider, redis):
    """Requests and answers are removed from Redis once every row has its result."""
    await run(api, store=False)
    assert provider.paid.total() == ROWS
    await until(lambda: is_forgotten(redis))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_becomes_of_a_job_each_row_has_its_one_result(api, provider, model, fault):
    """What a job did not answer is asked directly, once; nothing that it answered is. Each call
    costs what it cost, half the price or all of it."""
    provider.fault = fault
    batch, results = await run(api, judge={"models": [model], "service": "batch"})
    assert batch["status"] == "completed"
    assert batch["counts"]["scored"] == ROWS, results
    direct = ASKED_DIRECTLY.get(fault, 0)
    assert provider.direct.total() == direct
    assert set(provider.direct.values()) <= {1}
    assert set(provider.paid.values()) <= {1}
    expected_usd = FULL_USD * direct + FULL_USD / 2 * (ROWS - direct)
    assert batch["cost_usd"] == pytest.approx(expected_usd)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("method", "suffix"), [("POST", "/cancel"), ("DELETE", "")])
async def test_the_end_of_a_batch_ends_its_job(api, provider, redis, model, method, suffix):
    """A job of a batch that is cancelled or deleted is cancelled at the provider; what it still
    delivers is counted, nothing is asked again, and nothing of it stays in Redis."""
    provider.polls = 1_000_000
    made = await api.ok("POST", "/v1/batches", wanted({"models": [model], "service": "batch"}))
    path = f"/v1/batches/{made['id']}"
    async with asyncio.timeout(30):
        while not provider.jobs:  # noqa: ASYNC110  # it is made by another task
            await asyncio.sleep(0.05)
    assert (await api.ok("GET", path))["counts"]["waiting"] == ROWS
    before = await spending(api, model)
    await api.ok(method, path + suffix)
    await until(lambda: is_forgotten(redis))
    assert len(provider.cancelled) == len(provider.jobs) == 1
    assert not provider.direct
    await until(lambda: _spent(api, before, ROWS // 2, model))
