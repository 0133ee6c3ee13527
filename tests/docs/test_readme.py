"""The README's example runs unchanged; README and API page show the response of the service.

`ASSAY_RENEW_GOLDEN=1 pytest tests/docs/test_readme.py` writes the whole response again.
"""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

from fakes.service_process import running_service

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
API = ROOT / "docs" / "api.md"
COMMAND = re.compile(r"```bash\n(curl .*?)```", re.DOTALL)
ANSWER = re.compile(r"(```json\n)(\{\n  \"(?:id|status)\".*?)(```)", re.DOTALL)
VARIES = {"id", "created_at", "latency_ms"}


async def test_the_example_gives_the_answer_shown(tmp_path):
    """The response equals the one on the API page, except for ids and times; the README shows a
    part of it."""
    command = COMMAND.search(README.read_text())
    assert command is not None
    async with running_service(tmp_path) as service:
        shell = await asyncio.create_subprocess_shell(
            command[1].replace("http://127.0.0.1:8080", service.url),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await shell.communicate()
    given = json.loads(output)
    whole, part = ANSWER.search(API.read_text()), ANSWER.search(README.read_text())
    assert whole is not None
    assert part is not None
    shown = json.loads(whole[2])
    if os.environ.get("ASSAY_RENEW_GOLDEN") and stable(given) != stable(shown):
        shown = given
        body = json.dumps(given, indent=2, ensure_ascii=False)
        page = ANSWER.sub(lambda found: f"{found[1]}{body}\n{found[3]}", API.read_text(), count=1)
        API.write_text(page)
    assert stable(given) == stable(shown)
    assert is_part(json.loads(part[2]), given)


def stable(value: Any) -> Any:
    """The value without the fields that differ each time."""
    if isinstance(value, dict):
        return {key: stable(field) for key, field in value.items() if key not in VARIES}
    if isinstance(value, list):
        return [stable(item) for item in value]
    return value


def is_part(shown: Any, given: Any) -> bool:
    """Whether every field that is shown is in the response, with its value."""
    if isinstance(shown, dict):
        return all(name in given and is_part(field, given[name]) for name, field in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(given) and all(map(is_part, shown, given))
    return shown == given
