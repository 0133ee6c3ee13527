"""The console in a real browser: by keyboard alone, and while things change under an open page."""

import asyncio
import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium
from fakes.postgres_process import PostgresProcess, postgres_programs
from fakes.providers.server import FaultServer
from fakes.records_api import until
from fakes.redis_process import RedisProcess
from fakes.service_process import ServiceProcess, running_service

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM),
    pytest.mark.skipif(postgres_programs() is None, reason="there is no PostgreSQL here"),
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

TROUBLES = "Failed to load resource|htmx:"
"""What a browser says of statuses from 400 on."""
CONFIG = """
[redis]
url = "{redis}"
[batches]
worker_in_serve = true
[records]
url = "{records}"
[auth]
keys_file = "{keys}"
[providers.first]
dialect = "openai"
base_url = "{provider}"
[models."first/judge"]
provider = "first"
name = "judge-1"
[judges.default]
models = ["first/judge"]
"""
CRITERIA = [{"type": "contains", "name": "yes", "value": "yes"}]


HAS_VISIBLE_FOCUS = """() => {
  const style = getComputedStyle(document.activeElement);
  return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1)
    || style.boxShadow !== "none";
}"""
TABS_MAX = 60


@dataclass
class Scene:
    """A service whose every part can be ended."""

    service: ServiceProcess
    redis: RedisProcess
    postgres: PostgresProcess
    provider: FaultServer
    keys: Path

    @contextlib.asynccontextmanager
    async def window(self):
        """A window of somebody who has signed in."""
        async with chromium(self.service.url, TROUBLES) as window:
            page = await window.new_page()
            await page.goto("/console/sign-in")
            await sign_in(page, "first")
            await page.get_by_role("heading", name="Overview").wait_for()
            yield window, page

    async def until_revoked(self, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(self.service.url, headers=headers) as session:

            async def is_revoked() -> bool:
                async with session.get("/v1/models") as answer:
                    return answer.status == 401

            await until(is_revoked)

    async def call(self, method: str, path: str, document=None, lines=None):
        headers = {"Authorization": "Bearer first"}
        data = "\n".join(map(json.dumps, lines)) if lines else None
        if lines:
            headers["Content-Type"] = "application/x-ndjson"
        async with (
            aiohttp.ClientSession(self.service.url, headers=headers) as session,
            session.request(method, path, json=document, data=data) as answer,
        ):
            assert answer.status < 400, await answer.text()
            return await answer.json()


def write_keys(file: Path, key: str) -> None:
    file.write_text(f"{hashlib.sha256(key.encode()).hexdigest()} one role=write\n")


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()


async def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until it is reached; whatever has the focus on the way shows it."""
    for _ in range(TABS_MAX):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement === document.body"):
            continue
        reached = await page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        assert await page.evaluate(HAS_VISIBLE_FOCUS), reached
        if await wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not reached by Tab")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console")
    programs = postgres_programs()
    assert programs is not None
    with TemporaryDirectory(prefix="assay-postgres-") as data:
        redis, postgres = RedisProcess(folder), PostgresProcess(Path(data), programs)
        keys = folder / "keys"
        try:
            async with FaultServer() as provider:
                config = CONFIG.format(
                    redis=redis.url, keys=keys, provider=provider.base_url("openai"),
                    records=await asyncio.to_thread(postgres.new_migrated_database),
                )  # fmt: skip
                write_keys(keys, "first")
                async with running_service(folder, config) as service:
                    yield Scene(service, redis, postgres, provider, keys)
        finally:
            redis.stop()
            postgres.stop()


async def test_a_case_is_judged_by_keyboard_alone(scene: Scene):
    """From signing in to a judged case that is saved as an evaluator, the focus always visible."""
    async with chromium(scene.service.url) as window:
        page = await window.new_page()
        keys = page.keyboard
        await page.goto("/console/sign-in?next=playground")
        await keys.type("first")
        await keys.press("Enter")
        await page.get_by_role("heading", name="Playground").wait_for()
        await tab_to(page, page.get_by_role("link", name="Skip to the content"))
        await keys.press("Enter")
        await tab_to(page, page.get_by_label("Output"))
        await keys.type("A polite answer.")
        await tab_to(page, page.get_by_label("Type of the criterion to add"))
        await expect(page.get_by_label("Type of the criterion to add")).to_have_value("contains")
        await tab_to(page, page.get_by_role("button", name="Add", exact=True))
        await keys.press("Enter")
        await expect(page.get_by_label("value")).to_be_focused()
        await keys.type("polite")
        await tab_to(page, page.get_by_role("button", name="Judge", exact=True))
        await keys.press("Enter")
        await page.locator("#result").get_by_text("Overall").wait_for()
        await tab_to(page, page.get_by_label("Name of the evaluator"))
        await keys.type("by-keyboard")
        await tab_to(page, page.get_by_role("button", name="Save"))
        await keys.press("Enter")
        await page.locator("#result").get_by_text("by-keyboard@1").wait_for()
    found = await scene.call("GET", "/v1/evaluators/by-keyboard")
    assert [one["type"] for one in found["criteria"]] == ["rubric", "contains"]


async def test_redis_goes_away_under_an_open_page(scene: Scene):
    """The page says so and stays; when Redis is back, it goes on by itself."""
    async with scene.window() as (_, page):
        scene.redis.kill()
        try:
            await page.get_by_role("alert").first.wait_for()
            assert await page.get_by_role("heading", name="Overview").count() == 1
        finally:
            scene.redis.start()
        await expect(page.get_by_role("alert")).to_have_count(0)


async def test_records_go_away_under_an_open_page(scene: Scene):
    """What needs records says so, and what was entered is saved once they are back."""
    async with scene.window() as (_, page):
        await page.goto("/console/playground")
        await page.get_by_label("Output").fill("of the person")
        await page.get_by_label("Name of the evaluator").fill("kept")
        await asyncio.to_thread(scene.postgres.stop)
        try:
            await page.get_by_role("button", name="Save").click()
            await expect(page.locator("#result")).to_contain_text("records are unavailable")
            await expect(page.get_by_label("Output")).to_have_value("of the person")
            other = await page.context.new_page()
            for path in ("evaluators", "datasets", "calibrations"):
                await other.goto(f"/console/{path}")
                await expect(other.locator(".fault").first).to_contain_text("unavailable")
        finally:
            await asyncio.to_thread(scene.postgres.start)
        await page.get_by_role("button", name="Save").click()
        await page.locator("#result").get_by_text("kept@1").wait_for()


async def test_a_provider_fails(scene: Scene):
    """The criterion is unscored with the reason, and every call is in the timeline."""
    async with scene.window() as (_, page):
        await page.goto("/console/playground")
        await page.get_by_label("Output").fill("yes")
        await scene.provider.play("500")
        judge = page.get_by_role("button", name="Judge", exact=True)
        await judge.click()
        await expect(page.get_by_role("alert")).to_contain_text("No judge is available")
        await expect(page.get_by_role("alert").locator("tbody tr").first).to_contain_text("judge")
        await page.get_by_role("button", name="Add").click()
        await page.get_by_label("value").fill("yes")
        await judge.click()
        result = page.locator("#result article").first
        await expect(result.locator(".badge").first).to_have_text("unscored")
        await expect(result).to_contain_text("providers unavailable")
        await result.locator("summary").click()
        await expect(result.locator("tbody tr").first).to_contain_text("server error")
        await scene.provider.play("none")


async def test_a_key_is_revoked_under_an_open_form(scene: Scene):
    """The page says so and offers to sign in; with the next key the same form is sent."""
    async with scene.window() as (window, page):
        await page.goto("/console/evaluators/_new")
        await page.get_by_role("textbox", name="Name").fill("survivor")
        await page.get_by_label("Criteria").fill(json.dumps({"criteria": CRITERIA}))
        write_keys(scene.keys, "second")
        try:
            save = page.get_by_role("button", name="Save")
            signed_out = page.get_by_text("You are signed out")
            await scene.until_revoked("first")
            await save.click()
            await signed_out.wait_for()
            async with window.expect_page() as opening:
                await page.get_by_role("link", name="Sign in").click()
            other = await opening.value
            await sign_in(other, "second")
            await other.get_by_role("heading", name="Overview").wait_for()
            await other.close()
            await page.evaluate("dispatchEvent(new Event('focus'))")
            await signed_out.wait_for(state="detached")
            await save.click()
            await page.get_by_role("heading", name="survivor").wait_for()
        finally:
            write_keys(scene.keys, "first")
            await scene.until_revoked("second")


async def test_two_tabs(scene: Scene):
    """Both edit an evaluator: each gets a version, and the second is told. One deletes the batch
    that the other has open: the other says so."""
    await scene.call("POST", "/v1/evaluators", {"name": "shared", "criteria": CRITERIA})
    items = [{"id": "1", "output": "yes"}]
    batch = await scene.call("POST", "/v1/batches", {"criteria": CRITERIA, "items": items})
    async with scene.window() as (window, first):
        second = await window.new_page()
        for tab in (first, second):
            await tab.goto("/console/evaluators/shared/edit")
            criteria = json.dumps({"criteria": [{**CRITERIA[0], "value": str(tab is first)}]})
            await tab.get_by_label("Criteria").fill(criteria)
        await first.get_by_role("button", name="Save").click()
        await first.get_by_text("version 2").first.wait_for()
        await second.get_by_role("button", name="Save").click()
        await expect(second.get_by_role("alert")).to_contain_text("Version 2 was saved since")
        await second.get_by_role("button", name="Save").click()
        await second.get_by_text("version 3").first.wait_for()

        for tab in (first, second):
            await tab.goto(f"/console/batches/{batch['id']}")
        first.on("dialog", lambda dialog: dialog.accept())
        await first.get_by_role("button", name="Delete").click()
        await first.get_by_role("heading", name="Batches").wait_for()
        await second.locator("#results a, tbody a").first.click()
        await expect(second.get_by_role("alert")).to_contain_text("No batch has this id")
