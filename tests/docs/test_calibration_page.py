"""The examples of the calibration page give what the page shows, on the recorded data."""

import asyncio
import doctest
import json
import math
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from fakes.batches import ended
from fakes.runs import result
from fakes.service_process import clean_environment, running_service
from replay.recordings import DATA, llmbar_gold, llmbar_votes

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
    prepare, calibrate, control = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    shown, watched = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    async with running_service(tmp_path) as service, aiohttp.ClientSession(service.url) as session:
        await shell(tmp_path, service, prepare)
        async with session.get("/v1/batches") as response:
            (batch,) = (await response.json())["data"]
        await ended(session, batch)
        printed = await shell(tmp_path, service, calibrate)
        names = "".join(line + "\n" for line in prepare.splitlines() if line.startswith("api="))
        control = await shell(tmp_path, service, names + control)
    assert printed.partition("\n\n")[2] == shown
    assert control.endswith(watched)


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


def test_the_comparison_of_two_judges_is_what_a_hand_computation_gives(tmp_path):
    """`assay compare` prints what the page shows; `ASSAY_RENEW_GOLDEN=1` writes it anew."""
    right = {}
    for judge in ("PaLM2", "GPT-4"):
        votes = zip(llmbar_votes(judge)[0], llmbar_gold(), strict=True)
        right[judge] = [None if math.isnan(vote) else float(vote == label) for vote, label in votes]
        rows = [result(f"pair-{n}", right=score) for n, score in enumerate(right[judge])]
        path = tmp_path / f"{judge.lower().replace('-', '')}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = PAGE.read_text()
    command = re.search(r"```sh\nassay (compare .*)\n```", page)[1]
    done = subprocess.run(
        [sys.executable, "-m", "assay", *command.split()],
        cwd=tmp_path, env=clean_environment(), capture_output=True, check=True, encoding="utf-8",
    )  # fmt: skip
    shown = re.search(r"```markdown\n(.*?)```", page, re.DOTALL)[1]
    if os.environ.get("ASSAY_RENEW_GOLDEN") and done.stdout != shown:
        PAGE.write_text(page.replace(shown, done.stdout))
        pytest.fail("renewed: look at the change, then run the test again")
    assert done.stdout == shown

    pairs = [pair for pair in zip(*right.values(), strict=True) if None not in pair]
    n, gained, lost = len(pairs), pairs.count((0.0, 1.0)), pairs.count((1.0, 0.0))
    means = [sum(side) / n for side in zip(*pairs, strict=True)]
    change = (gained - lost) / n
    spread = (gained + lost - n * change**2) / (n - 1)
    width = 1.967930 * math.sqrt(spread / n)  # Student's t, 97.5 %, n - 1 = 299
    coin = [Fraction(math.comb(gained + lost, k), 2 ** (gained + lost)) for k in range(lost + 1)]
    cells = [cell.strip() for cell in shown.splitlines()[2].split("|")[1:-1]]
    assert cells == [
        "right", "pass rate", f"{means[0]:.4f}", f"{means[1]:.4f}", f"{change:+.4f}",
        f"{change - width:+.4f} to {change + width:+.4f}", f"{float(2 * sum(coin)):.2g}",
        str(n), str(lost), str(gained), "improvement",
    ]  # fmt: skip
