"""`assay demo` fills a real service, so that every page of the console has something to show."""

import asyncio
import os
import sys

import aiohttp
import pytest

from assay.http.keys_file import new_key
from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium, inaccessible
from fakes.service_process import clean_environment, running_service

BATCHES = {"Assistant 1, hasty judge", "Assistant 1", "Assistant 2"}


async def run_demo(url, **environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assay", "demo", "--url", url,
        env={**clean_environment(environment), "PATH": os.environ["PATH"]},
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
        (draw,) = await listed(session, "/v1/labels/draws")
        async with session.get(f"/console/labels/{draw['id']}?annotator=new") as answer:
            text = await answer.text()
        assert (answer.status, "Output" in text, "0 of" in text) == (200, True, True)
        assert (await run_demo(service.url))[0] == 0
        assert await everything(session) == made


async def test_other_services_are_left_alone(tmp_path):
    """Without the recorded judges nothing is added, and the command says what to do."""
    async with running_service(tmp_path) as service, aiohttp.ClientSession(service.url) as session:
        code, errors = await run_demo(service.url)
        assert (code, "start it with `assay serve --demo`" in errors) == (3, True)
        assert await listed(session, "/v1/datasets") == []


@pytest.mark.timeout(180)
@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
async def test_pages_of_comparisons_and_of_operators_can_be_read_by_everyone(tmp_path):
    """Axe finds nothing serious in them, and no page is wider than its window; a row opens below
    its table, and a command to a breaker stands in the audit log."""
    key, line = new_key("demo", "role=operator", "name=ops")
    (tmp_path / "keys").write_text(line + "\n")
    config = f'[auth]\nkeys_file = "{tmp_path / "keys"}"\n'
    async with running_service(tmp_path, config, options=("--demo",)) as service:
        code, errors = await run_demo(service.url, ASSAY_API_KEY=key)
        assert code == 0, errors
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(service.url, headers=headers) as session:
            candidate, base = (one["id"] for one in (await listed(session, "/v1/batches"))[:2])
        for scheme, width in (("light", 1400), ("dark", 390)):
            size = {"width": width, "height": 800}
            async with chromium(service.url, color_scheme=scheme, viewport=size) as window:
                page = await window.new_page()

                async def is_legible(page=page, width=width):
                    await page.wait_for_load_state("networkidle")
                    assert await inaccessible(page) == []
                    wide = await page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width

                await page.goto("/console/sign-in")
                await page.get_by_label("API key").fill(key)
                await page.keyboard.press("Enter")
                await page.get_by_role("heading", name="Overview").wait_for()
                await page.goto("/console/models")
                await page.get_by_role("button", name="Send").last.click()
                await page.get_by_text("forced open").first.wait_for()
                await is_legible()
                await page.goto("/console/audit")
                await page.get_by_role("link", name="order breaker").first.wait_for()
                await is_legible()
                await page.goto(f"/console/compare?base={base}&candidate={candidate}")
                await page.locator("figure svg").first.wait_for()
                await page.locator("tbody a.clip").first.press("Enter")
                await page.get_by_role("heading", name="Candidate: Assistant 2").wait_for()
                assert await page.locator("ins.added").count() > 0
                await is_legible()
