"""`assay demo` fills a real service, so that every page of the console has something to show."""

import asyncio
import os
import sys

import aiohttp
import pytest

from fakes.service_process import clean_environment, running_service

BATCHES = {"Assistant 1, hasty judge", "Assistant 1", "Assistant 2"}


async def run_demo(url):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assay", "demo", "--url", url,
        env={**clean_environment(), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


@pytest.fixture
async def service(tmp_path):
    async with running_service(tmp_path, options=("--demo",)) as running:
        yield running


async def listed(session, path):
    async with session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["data"]


async def everything(session):
    """How many there are of each kind."""
    paths = ("evaluators/support-quality/versions", "datasets", "batches", "labels?limit=1000",
             "labels/draws", "calibrations")  # fmt: skip
    return {path: len(await listed(session, f"/v1/{path}")) for path in paths}


async def test_the_demo_fills_a_service_once(service):
    """Every row is scored by recorded judges, and marked; a repetition adds nothing."""
    code, errors = await run_demo(service.url)
    assert (code, "is ready" in errors) == (0, True), errors
    async with aiohttp.ClientSession(service.url) as session:
        made = await everything(session)
        assert list(made.values()) == [2, 1, 3, 480, 1, 2]
        batches = {one["name"]: one for one in await listed(session, "/v1/batches")}
        assert batches.keys() == BATCHES
        for batch in batches.values():
            assert batch["counts"]["scored"] == 192
            assert batch["simulated"]
        base, candidate = (batches[name]["id"] for name in ("Assistant 1", "Assistant 2"))
        async with session.get(f"/v1/batches/{candidate}/compare?base={base}") as answer:
            found = await answer.json()
        verdicts = {one["name"]: one["differences"][0]["verdict"] for one in found["criteria"]}
        assert (verdicts["helpful"], verdicts["short_enough"]) == ("improvement", "regression")
        for path in ("", "compare", "labels", "calibrations", "models", "playground"):
            async with session.get(f"/console/{path}") as answer:
                assert answer.status == 200
        assert (await run_demo(service.url))[0] == 0
        assert await everything(session) == made


async def test_other_services_are_left_alone(tmp_path):
    """Without the recorded judges nothing is added, and the command says what to do."""
    async with running_service(tmp_path) as service, aiohttp.ClientSession(service.url) as session:
        code, errors = await run_demo(service.url)
        assert (code, "start it with `assay serve --demo`" in errors) == (3, True)
        assert await listed(session, "/v1/datasets") == []
