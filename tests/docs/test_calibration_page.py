"""The examples of the calibration page give what the page shows, on the recorded data."""

import asyncio
import doctest
import os
import re
import sys
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from fakes.batches import ended
from fakes.service_process import clean_environment, running_service
from replay.recordings import DATA

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"

ASSAY = f'assay() {{ {sys.executable} -m assay "$@"; }}\n'


async def shell(folder, service, script):
    """What a block of the page prints."""
    process = await asyncio.create_subprocess_shell(
        ASSAY + script.replace("http://127.0.0.1:8080", service.url),
        cwd=folder,
        env={**clean_environment(), "ASSAY_URL": service.url, "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_the_commands_print_what_the_page_shows(tmp_path):
    """Items, labels and a batch by curl; then the figures of the page."""
    prepare, calibrate = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    async with running_service(tmp_path) as service, aiohttp.ClientSession(service.url) as session:
        await shell(tmp_path, service, prepare)
        async with session.get("/v1/batches") as response:
            (batch,) = (await response.json())["data"]
        await ended(session, batch)
        printed = await shell(tmp_path, service, calibrate)
    assert printed.partition("\n\n")[2] == shown


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason=f"no recorded data at {DATA} (set ASSAY_DATA)")
def test_the_examples_give_what_the_page_shows(monkeypatch):
    """All blocks in their order, as one session."""
    monkeypatch.setenv("ASSAY_DATA", str(DATA))
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    example = doctest.DocTestParser().get_doctest(code, {}, PAGE.name, str(PAGE), 0)
    said: list[str] = []
    with np.printoptions(legacy=False):
        failed = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert failed.attempted > 40
    assert not failed.failed, "".join(said)
