"""The blocks of the Python page run in their order and print what the page shows."""

import asyncio
import os
import re
import sys
from pathlib import Path

from fakes.service_process import clean_environment, running_service

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)
END = "-- end of block --"


async def test_the_blocks_print_what_the_page_shows(tmp_path):
    """All blocks as one program, as in a notebook."""
    program = tmp_path / "page.py"
    program.write_text("".join(f"{code}\nprint({END!r})\n" for code, _ in BLOCKS))
    async with running_service(tmp_path) as service:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            program,
            cwd=tmp_path,
            env={**clean_environment(), "ASSAY_URL": service.url, "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    *printed, _ = output.decode().split(f"{END}\n")
    assert printed == [shown for _, shown in BLOCKS]
