"""Takes the pictures that stand in the documentation; see `bin/screenshots`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium
from fakes.page_blocks import ROOT, blocks_of, run_blocks
from fakes.service_process import clean_environment, running_service

SIZE = {"width": 1280, "height": 860}


async def take(folder: Path) -> None:
    """One picture of each main page and of the tutorial's report, in light and dark."""
    with TemporaryDirectory() as work:
        report = await report_of_the_tutorial(Path(work))
        async with running_service(Path(work), options=["--demo"]) as service:
            demo = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "assay", "demo", "--url", service.url,
                env=clean_environment(),
            )  # fmt: skip
            assert await demo.wait() == 0
            pages = await pages_of(service.url)
            for scheme in ("light", "dark"):
                async with chromium(service.url, color_scheme=scheme, viewport=SIZE) as window:
                    page = await window.new_page()
                    for name, path in pages.items():
                        await page.goto(f"/console/{path}")
                        await page.wait_for_load_state("networkidle")
                        await page.screenshot(path=folder / f"console-{name}-{scheme}.png")
                    page = await window.new_page()  # without the console's policy
                    await page.set_content(report)
                    await page.screenshot(path=folder / f"report-{scheme}.png")


async def report_of_the_tutorial(folder: Path) -> str:
    """What its commands write as the report, with this checkout in place of what they install."""
    blocks = list(blocks_of(ROOT / "docs" / "tutorial.md"))
    ran = [block for block in blocks if "pip install" not in block.text]
    await run_blocks(ran, folder)
    return (folder / "work" / "report.html").read_text()


async def pages_of(url: str) -> dict[str, str]:
    """The pages that are shown, by the names of their pictures."""
    async with aiohttp.ClientSession(url) as session:

        async def newest(path: str) -> list[dict[str, Any]]:
            async with session.get(path) as response:
                found: list[dict[str, Any]] = (await response.json())["data"]
                return found

        batches = await newest("/v1/batches")
        (calibration, *_) = await newest("/v1/calibrations")
        (draw, *_) = await newest("/v1/labels/draws")
    candidate, base = batches[0]["id"], batches[1]["id"]
    return {
        "overview": "",
        "batch": f"batches/{candidate}",
        "compare": f"compare?base={base}&candidate={candidate}",
        "label": f"labels/{draw['id']}",
        "calibration": f"calibrations/{calibration['id']}",
    }


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit(WITHOUT_CHROMIUM)
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(target))
