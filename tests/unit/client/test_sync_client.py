"""The sync client is what the async one makes of it."""

import re
import subprocess
import sys
from pathlib import Path

from fakes.sync_client import TARGET, made

SRC = Path(__file__).parents[3] / "src"


def test_the_sync_client_is_not_stale():
    """If this fails: run bin/sync-client, and commit what it wrote."""
    assert made() == {path.name: path.read_text() for path in sorted(TARGET.glob("*.py"))}


def test_nothing_of_the_async_client_is_left():
    """No await, no coroutine and no name of the async client is in the sync one."""
    text = "".join(made().values()).replace("assay.client.asynchronous", "")
    assert not re.findall(r"\b(?:async|await|_?Async[A-Z]\w*|async_\w+)\b", text)


def test_importing_the_package_loads_nothing():
    """`import assay` takes neither an HTTP client nor anything of the service."""
    code = "import sys, assay; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={"PYTHONPATH": str(SRC)},
    )
    others = set(ran.stdout.split()) - sys.stdlib_module_names
    assert not others & {"httpx2", "orjson", "typer", "pydantic", "fastapi", "aiohttp", "numpy"}
