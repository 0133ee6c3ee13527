"""The examples of the batches page run unchanged against a real service."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from fakes.service_process import clean_environment, running_service

PAGE = (Path(__file__).parents[2] / "docs" / "batches.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
ASSAY = f'assay() {{ {sys.executable} -m assay "$@"; }}\n'


async def shell(folder, service, script):
    process = await asyncio.create_subprocess_shell(
        ASSAY + script.replace("http://127.0.0.1:8080", service.url),
        cwd=folder,
        env={**clean_environment(), "ASSAY_URL": service.url, "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_commands_on_the_page_do_what_it_says(tmp_path):
    """The file is scored and the gate is met; over HTTP the same rows come back in order."""
    async with running_service(tmp_path) as service:
        code, table = await shell(tmp_path, service, BLOCKS[0])
        assert code == 0, table
        assert "contains" in table
        lines = (tmp_path / "results.jsonl").read_text().splitlines()
        written = [json.loads(line) for line in lines]
        code, output = await shell(tmp_path, service, BLOCKS[1])
    assert code == 0
    answers = [json.loads(line) for line in output.replace("}{", "}\n{").splitlines()]
    uploaded, *results = answers
    assert uploaded["accepted"] == 3
    assert "event: completed" in (tmp_path / "events.txt").read_text()
    for found in (written, results):
        assert [result["item_id"] for result in found] == ["q1-a", "q1-b", "q2-a"]
        assert all(result["score"] == 1.0 for result in found)
