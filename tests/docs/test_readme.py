"""The README's example runs unchanged, and the README shows the response of the service.

`ASSAY_RENEW_GOLDEN=1 pytest tests/docs/test_readme.py` writes the response again.
"""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

from fakes.service_process import running_service

README = Path(__file__).parents[2] / "README.md"
COMMAND = re.compile(r"```bash\n(curl .*?)```", re.DOTALL)
ANSWER = re.compile(r"(```json\n)(.*?)(```)", re.DOTALL)
VARIES = {"id", "created_at", "latency_ms"}


async def test_the_example_gives_the_answer_shown(tmp_path):
    """The response equals the one in the README, except for ids and times."""
    text = README.read_text()
    command = COMMAND.search(text)
    assert command is not None
    async with running_service(tmp_path) as service:
        shell = await asyncio.create_subprocess_shell(
            command[1].replace("http://127.0.0.1:8080", service.url),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await shell.communicate()
    given = json.loads(output)
    answer = ANSWER.search(text)
    assert answer is not None
    shown = json.loads(answer[2])
    if os.environ.get("ASSAY_RENEW_GOLDEN") and stable(given) != stable(shown):
        shown = given
        body = json.dumps(given, indent=2, ensure_ascii=False)
        README.write_text(ANSWER.sub(lambda found: f"{found[1]}{body}\n{found[3]}", text, count=1))
    assert stable(given) == stable(shown)


def stable(value: Any) -> Any:
    """The value without the fields that differ each time."""
    if isinstance(value, dict):
        return {key: stable(field) for key, field in value.items() if key not in VARIES}
    if isinstance(value, list):
        return [stable(item) for item in value]
    return value
