"""The console under hands that are hasty, and texts that are long, in a real browser."""

import asyncio
import io
import json

import aiohttp
import pytest

from fakes.batches import NDJSON, ended
from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium
from fakes.service_process import running_service

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM),
    pytest.mark.timeout(180),
]

QUOTES = 'It\'s "quoted" `echo no` $HOME \\n !! مرحبا 你好 👩‍👩‍👧\n\tline two'
LONG = "W" * 1_000_000
CRITERIA = [{"type": "contains", "name": "has_w", "value": "W"}]


async def fill(url: str, *items: dict, batches: int = 0) -> list[str]:
    """A dataset `cases` with the items, an evaluator `has-w`, and ids of batches over them."""
    async with aiohttp.ClientSession(url) as session:
        await session.post("/v1/datasets", json={"name": "cases"})
        lines = "\n".join(map(json.dumps, items)).encode()
        await session.put("/v1/datasets/cases/items", data=io.BytesIO(lines), headers=NDJSON)
        await session.post("/v1/evaluators", json={"name": "has-w", "criteria": CRITERIA})
        wanted = {"evaluator": "has-w", "dataset": "cases"}
        made = [await (await session.post("/v1/batches", json=wanted)).json()
                for _ in range(batches)]  # fmt: skip
        return [(await ended(session, batch))["id"] for batch in made]


async def test_a_form_is_sent_once(tmp_path):
    """However often its button is pressed, and Enter in the name of an evaluator saves it."""
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        await fill(service.url, {"id": "0", "output": "W"}, batches=1)
        await page.goto("/console/playground")
        await page.get_by_label("Output").fill("W")
        await page.get_by_role("button", name="Add").last.dblclick()
        await page.locator("#result").get_by_text("has 2 items").wait_for()
        await page.wait_for_load_state("networkidle")
        dataset = await (await page.request.get("/v1/datasets/cases")).json()
        assert dataset["version"] == 2
        await page.get_by_label("Name of the evaluator").fill("hasty")
        await page.keyboard.press("Enter")
        await page.locator("#result").get_by_text("hasty@1").wait_for()

        await page.goto("/console/labels")
        await page.get_by_role("button", name="Draw and begin").dblclick()
        await page.get_by_text("labelled by me").wait_for()
        draws = await (await page.request.get("/v1/labels/draws")).json()
        assert len(draws["data"]) == 1


async def test_the_request_runs_in_a_shell_as_it_is_copied(tmp_path):
    """With quotes, scripts of all directions, and texts longer than an argument may be."""
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        for output in (QUOTES, LONG[:200_000]):
            await page.goto("/console/playground")
            await page.get_by_role("button", name="Add").first.click()
            await page.get_by_label("value").fill(output[-8:])
            await page.get_by_role("button", name="Remove").first.click()
            await page.get_by_label("Output").fill(output)
            await page.get_by_role("button", name="Judge").click()
            await page.locator("#result").get_by_text("Overall").wait_for()
            command = await page.locator("#curl").text_content()
            shell = await asyncio.create_subprocess_exec(
                "bash", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await shell.communicate((command or "").encode())
            assert json.loads(said)["results"][0]["passed"] is True


async def test_long_texts_open_quickly_and_are_judged_whole(tmp_path):
    """A megabyte without a space, in each page that shows a case; the playground cuts nothing."""
    items = ({"id": "long", "input": LONG, "output": LONG, "context": ["one", "two"]},)
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        base, candidate = await fill(service.url, *items, batches=2)
        draw = await page.request.post(
            "/v1/labels/draws", data={"batch": base, "criterion": "has_w", "labels": 1}
        )
        rows = f"base={base}&candidate={candidate}&base_row=0&candidate_row=0"
        for path in (
            f"compare/row?{rows}", f"labels/{(await draw.json())['id']}?row=0",
            f"batches/{base}/rows/0", "datasets/cases/item?version=1&id=long",
        ):  # fmt: skip
            await page.goto(f"/console/{path}")
            await page.get_by_text("more characters").first.wait_for()
        await page.get_by_role("link", name="Judge in the playground").click()
        output = page.get_by_label("Output")
        await output.wait_for()
        assert await output.input_value() == LONG
        context = page.get_by_label("Context, as JSON")
        assert json.loads(await context.input_value()) == ["one", "two"]


async def test_keys_of_labelling_leave_buttons_alone(tmp_path):
    """Space presses the button that has the focus, and a key that is held down presses once."""
    items = [{"id": str(n), "output": "W"} for n in range(5)]
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        (batch,) = await fill(service.url, *items, batches=1)
        wanted = {"batch": batch, "criterion": "has_w", "labels": 5}
        draw = await (await page.request.post("/v1/labels/draws", data=wanted)).json()
        await page.goto(f"/console/labels/{draw['id']}")
        await page.get_by_role("button", name="fail").focus()
        await page.keyboard.press("Space")
        await page.get_by_text("1 of 5 labelled").wait_for()
        (label,) = (await (await page.request.get("/v1/labels")).json())["data"]
        assert label["passed"] is False
        await page.keyboard.down("1")
        await page.get_by_text("2 of 5 labelled").wait_for()
        await page.keyboard.down("1")  # repeats
        await page.keyboard.up("1")
        await page.keyboard.press("v")
        await page.get_by_role("heading", name="The judge").wait_for()
        await page.get_by_text("2 of 5 labelled").wait_for()


async def test_uploads_that_go_wrong_say_so(tmp_path):
    """The wrong type, several files at once, rows that cannot be read, and a cancelled one."""

    def file(name: str, content: bytes) -> dict:
        return {"name": name, "mimeType": "", "buffer": content}

    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        await page.request.post("/v1/datasets", data={"name": "cases"})
        await page.goto("/console/datasets/cases")
        field = page.locator("[data-upload] input[type=file]")
        status = page.locator("[data-upload] [role=status]")
        await field.set_input_files(file("cases.exe", b"MZ"))
        await status.get_by_text("Choose a file that ends with").wait_for()
        await page.evaluate(
            """() => {
                const transfer = new DataTransfer();
                transfer.items.add(new File(["{}"], "a.jsonl"));
                transfer.items.add(new File(["{}"], "b.jsonl"));
                document.querySelector("[data-upload]").dispatchEvent(
                    new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
            }"""
        )
        await status.get_by_text("One file at a time").wait_for()
        await page.route("**/items", lambda _: None)  # never answered
        await field.set_input_files(file("cases.jsonl", b'{"output": "W"}\n' * 100))
        await status.get_by_role("button", name="Cancel").click()
        await status.get_by_text("Cancelled").wait_for()
        dataset = await (await page.request.get("/v1/datasets/cases")).json()
        assert not dataset["items"]


async def test_a_page_that_renews_itself_disturbs_nobody(tmp_path):
    """What was opened stays open, and what had the focus has it; an unseen tab asks nothing."""
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        await fill(service.url, {"id": "0", "output": "W"}, batches=1)
        await page.request.post(
            "/v1/evaluations", data={"output": "x", "criteria": ["It is polite."]}
        )
        await page.clock.install()
        await page.goto("/console/")
        await page.locator("summary").first.click()
        await page.locator("#live a.clip").first.focus()
        async with page.expect_response("**/console/"):
            await page.clock.run_for(6_000)
        await page.wait_for_load_state("networkidle")
        assert await page.locator("details").first.get_attribute("open") is not None
        assert await page.evaluate("document.activeElement.className") == "clip"
        await page.evaluate(
            "Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })"
        )
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.clock.run_for(20_000)
        await page.evaluate("delete document.hidden")
        async with page.expect_response("**/console/"):
            await page.clock.run_for(6_000)
        assert len(asked) == 1


async def test_what_takes_long_can_be_cancelled(tmp_path):
    """A judgement in the playground shows that it is under way, and ends at a press."""
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        page = await window.new_page()
        await page.goto("/console/playground")
        await page.get_by_label("Output").fill("W")
        await page.route("**/console/playground", lambda _: None)  # never answered
        await page.get_by_role("button", name="Judge").click()
        result = page.locator("#result")
        await result.get_by_role("progressbar").wait_for()
        await result.get_by_role("button", name="Cancel").click()
        await result.get_by_text("Cancelled").wait_for()
        await page.unroute("**/console/playground")
        await page.get_by_role("button", name="Judge").click()
        await result.get_by_text("Overall").wait_for()


async def test_a_problem_leaves_the_case_that_is_labelled(tmp_path):
    """Undo of a label that is gone says so above the case, and labelling goes on."""
    async with (
        running_service(tmp_path) as service,
        chromium(service.url, "Failed to load resource") as window,
    ):
        page = await window.new_page()
        items = [{"id": str(n), "output": "W"} for n in range(3)]
        (batch,) = await fill(service.url, *items, batches=1)
        wanted = {"batch": batch, "criterion": "has_w", "labels": 3}
        draw = await (await page.request.post("/v1/labels/draws", data=wanted)).json()
        await page.goto(f"/console/labels/{draw['id']}")
        await page.keyboard.press("1")
        await page.get_by_text("1 of 3 labelled").wait_for()
        (label,) = (await (await page.request.get("/v1/labels")).json())["data"]
        await page.request.delete(f"/v1/labels/{label['id']}")
        await page.keyboard.press("u")
        await page.locator("#fault").get_by_text("No label has this id").wait_for()
        await page.keyboard.press("1")
        await page.locator("#fault > *").wait_for(state="detached")
        (label,) = (await (await page.request.get("/v1/labels")).json())["data"]
        assert label["passed"] is True


async def test_the_cookie_of_another_service_does_not_lock_somebody_out(tmp_path):
    """Browsers send it to every port of a host; a service without keys opens all the same."""
    async with running_service(tmp_path) as service, chromium(service.url) as window:
        cookie = {"name": "assay_session", "value": "ImFi.of.another", "url": service.url}
        await window.add_cookies([{**cookie, "url": f"{service.url}/console"}])
        page = await window.new_page()
        await page.goto("/console/datasets")
        await page.get_by_label("Name").fill("cases")
        await page.get_by_role("button", name="Create").click()
        await page.get_by_role("heading", name="cases").wait_for()
