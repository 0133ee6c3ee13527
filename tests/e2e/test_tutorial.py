"""docs/tutorial.md as a new user walks it, in an empty folder and with a built wheel."""

import asyncio
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from fakes.page_blocks import ROOT, blocks_of, run_blocks

UV = Path(sys.executable).with_name("uv")


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not entry_points(group="pytest11", name="assay"), reason="there is no pytest plugin yet"
)
async def test_the_tutorial_ends_with_a_gate_a_report_and_a_comparison(tmp_path: Path):
    """Each command ends as the page says, prints what it shows, and leaves the files behind."""
    wheels = tmp_path / "dist"
    build = f"{sys.executable} -m build --wheel --no-isolation --outdir {wheels} {ROOT}"
    assert await (await asyncio.create_subprocess_shell(f"{build} > /dev/null")).wait() == 0
    # uv takes the packages from its cache.
    blocks = [
        replace(block, text=block.text.replace("pip install", f"{UV} pip install"))
        for block in blocks_of(ROOT / "docs" / "tutorial.md")
    ]
    await run_blocks(blocks, tmp_path, {"UV_FIND_LINKS": str(wheels), "PYTHONPATH": ""})
    work = tmp_path / "work"
    assert "<html" in (work / "report.html").read_text()
    assert "| improvement |" in (work / "comparison.md").read_text()
