"""The console in a real browser, on a real service that a person has just started."""

import json

import aiohttp
import pytest

from fakes.batches import ended
from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium, inaccessible
from fakes.service_process import running_service

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM),
    pytest.mark.timeout(180),
]

HOSTILE = "<img src=x onerror=alert(1)> مرحبا 你好 " + "long " * 400
PAGES = (
    "", "playground", "evaluators", "evaluators/_new", "datasets", "batches", "batches/new",
    "compare", "labels", "calibrations", "models",
)  # fmt: skip


async def prepare(url: str, rows: int = 40) -> list[str]:
    """An evaluator, a dataset of hostile texts, a batch, labels and a calibration: their pages."""
    async with aiohttp.ClientSession(url) as session:

        async def call(method: str, path: str, document=None, lines=None):
            headers = {"Content-Type": "application/x-ndjson"} if lines else {}
            data = "\n".join(map(json.dumps, lines)).encode() if lines else None
            sent = session.request(method, path, json=document, data=data, headers=headers)
            async with sent as response:
                assert response.status < 400, await response.text()
                return await response.json()

        await call("POST", "/v1/datasets", {"name": "cases"})
        items = [
            {"id": str(n), "input": HOSTILE, "output": f"{n} {'yes' if n % 2 else 'no'}"}
            for n in range(rows)
        ]
        await call("PUT", "/v1/datasets/cases/items", lines=items)
        criteria = [{"type": "contains", "name": "says_yes", "value": "yes"}]
        await call("POST", "/v1/evaluators", {"name": "yes", "criteria": criteria})
        wanted = {"evaluator": "yes", "dataset": "cases", "name": "first"}
        batch = await call("POST", "/v1/batches", wanted)
        await ended(session, batch)
        labels = [
            {"item": {"dataset": "cases", "id": str(n)}, "criterion": "says_yes",
             "annotator": "ann", "passed": n % 3 > 0, "random_sample": True}
            for n in range(rows)
        ]  # fmt: skip
        await call("POST", "/v1/labels", lines=labels)
        made = await call("POST", "/v1/calibrations", {"batch": batch["id"]})
        of_batch = f"batches/{batch['id']}"
        return [
            "evaluators/yes", "datasets/cases", of_batch, f"{of_batch}?row=1&q=yes",
            f"calibrations/{made['id']}",
        ]  # fmt: skip


async def test_every_page_can_be_read_by_everyone(tmp_path):
    """Empty and filled, light and dark, narrow and wide: axe finds nothing serious, no page is
    wider than its window, no script fails, and no other host is asked."""
    async with running_service(tmp_path) as service:
        for filled in (False, True):
            paths = list(PAGES)
            if filled:
                paths += await prepare(service.url)
            for scheme, width in (("light", 1400), ("dark", 390)):
                size = {"width": width, "height": 800}
                async with chromium(service.url, color_scheme=scheme, viewport=size) as window:
                    page = await window.new_page()
                    for path in paths:
                        answer = await page.goto(f"/console/{path}")
                        assert answer is not None
                        assert answer.status == 200, path
                        await page.wait_for_load_state("networkidle")
                        assert await inaccessible(page) == [], (path, scheme)
                        wide = await page.evaluate("document.documentElement.scrollWidth")
                        assert wide <= width, (path, width)


async def test_cases_are_labelled_by_keyboard_alone(tmp_path):
    """Draw, say, skip, undo and finish, and read how far the judge agrees."""
    async with running_service(tmp_path) as service:
        await prepare(service.url, rows=6)
        async with chromium(service.url) as window:
            page = await window.new_page()
            await page.goto("/console/labels")
            await page.get_by_label("How many, on average").fill("6")
            await page.keyboard.press("Enter")
            await page.get_by_text("0 of 6 labelled by me").wait_for()
            assert await page.get_by_text("The judge", exact=True).count() == 0
            await page.keyboard.press("1")
            await page.get_by_text("1 of 6 labelled").wait_for()
            await page.keyboard.press("u")
            await page.get_by_text("0 of 6 labelled").wait_for()
            first = await page.locator(".mono").first.inner_text()
            await page.keyboard.press("Space")
            await page.locator(".mono", has_text=first).first.wait_for(state="detached")
            await page.keyboard.press("v")
            await page.get_by_role("heading", name="The judge").wait_for()
            for number in range(1, 7):
                await page.keyboard.press(str(1 + number % 2))
                await page.get_by_text(f"{number} of 6 labelled").wait_for()
            await page.keyboard.press("Enter")
            await page.get_by_role("heading", name="Judge and people").wait_for()
            await page.locator("figure svg").first.wait_for()


async def test_a_case_is_judged_and_kept_as_an_evaluator(tmp_path):
    """In the playground: criteria are added and removed, hostile text stays text."""
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        await page.goto("/console/playground")
        await page.get_by_label("Input").fill("Is it fine?")
        await page.get_by_label("Output").fill(HOSTILE)
        await page.get_by_role("button", name="Add").click()
        await page.get_by_label("value").fill("مرحبا")
        await page.get_by_role("button", name="Judge").click()
        result = page.locator("#result")
        await result.get_by_text("Overall").wait_for()
        assert await result.get_by_role("heading", name="contains").count() == 1
        assert await result.locator("img").count() == 0
        await page.get_by_role("button", name="Remove").first.click()
        await page.get_by_label("Name of the evaluator").fill("says-hello")
        await page.get_by_role("button", name="Save").click()
        await result.get_by_text("says-hello@1").wait_for()
        found = await (await page.request.get("/v1/evaluators/says-hello")).json()
        assert [one["type"] for one in found["criteria"]] == ["contains"]


async def test_a_person_finds_the_way_without_reading(tmp_path):
    """From a case in the playground to an evaluator, a dataset, two batches that are compared,
    30 labels by keyboard, and the judge's agreement."""
    rows = [{"id": str(n), "input": f"Case {n}", "output": f"yes {n}"} for n in range(40)]
    file = {
        "name": "cases.jsonl", "mimeType": "application/x-ndjson",
        "buffer": "\n".join(map(json.dumps, rows)).encode(),
    }  # fmt: skip
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        await page.goto("/console/")
        await page.get_by_role("link", name="Judge a case").click()
        await page.get_by_label("Output").fill("Paris, of course.")
        await page.get_by_role("button", name="Judge", exact=True).click()
        await page.locator("#result").get_by_text("Overall").wait_for()
        await page.get_by_label("Name of the evaluator").fill("polite")
        await page.get_by_role("button", name="Save").click()
        await page.locator("#result").get_by_text("polite@1").wait_for()

        await page.get_by_role("link", name="Datasets").click()
        await page.get_by_label("Name").fill("cases")
        await page.get_by_role("button", name="Create").click()
        await page.locator("[data-upload] input[type=file]").set_input_files(file)
        await page.get_by_text("Case 7", exact=True).wait_for()

        for name in ("first", "second"):
            await page.get_by_role("link", name="Batches").click()
            await page.get_by_role("link", name="New batch").first.click()
            await page.get_by_label("Dataset").fill("cases")
            await page.get_by_label("Evaluator").fill("polite")
            await page.get_by_label("Name of the batch").fill(name)
            await page.get_by_role("button", name="Show what it takes").click()
            await page.get_by_role("button", name="Start the batch").click()
            await page.get_by_role("heading", name=name).wait_for()
            await page.get_by_text("completed").first.wait_for()

        await page.get_by_role("link", name="Compare").click()
        await page.get_by_label("Base").select_option(index=2)
        await page.get_by_label("Candidate").select_option(index=1)
        await page.get_by_role("button", name="Compare").click()
        await page.get_by_role("heading", name="rubric").first.wait_for()

        await page.get_by_role("link", name="Label", exact=True).click()
        await page.get_by_label("How many, on average").fill("40")
        await page.get_by_role("button", name="Draw and begin").click()
        await page.get_by_text("0 of 40 labelled").wait_for()
        await page.wait_for_load_state()
        for number in range(1, 31):
            await page.keyboard.press(str(1 + number % 2))
            await page.get_by_text(f"{number} of 40 labelled").wait_for()
        await page.get_by_role("link", name="Calibration").click()
        await page.get_by_role("button", name="Compare").click()
        await page.get_by_role("heading", name="Judge and people").wait_for()
        await page.get_by_text("30 labels").wait_for()
