"""A real Chromium, for tests of the console."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WITHOUT_CHROMIUM = "there is no Chromium here: bin/extras installs one"

expect.set_options(timeout=30_000)  # as long as other waits: a busy machine is no fault of a page


@contextlib.asynccontextmanager
async def chromium(url: str, troubles: str = "", **options: Any) -> AsyncIterator[BrowserContext]:
    """A window whose pages may load nothing but what `url` serves.

    Faults of scripts, and requests to other hosts, fail the test at the end; a line on the console
    does not if the pattern `troubles` is found in it.
    """
    faults: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(base_url=url, **options)
        context.on("weberror", lambda error: faults.append(str(error.error)))

        def said(line: ConsoleMessage) -> None:
            expected = troubles and re.search(troubles, line.text)
            if line.type == "error" and not expected:
                faults.append(line.text)

        context.on("console", said)
        context.on(
            "request",
            lambda request: None if request.url.startswith(url) else faults.append(request.url),
        )
        yield context
        await browser.close()
    assert not faults, faults


async def inaccessible(page: Page) -> list[str]:
    """What axe finds serious on a page: the rule, and where."""
    # Not by `addScriptTag`: the page's policy allows no such script.
    await page.evaluate(AXE_SCRIPT)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
