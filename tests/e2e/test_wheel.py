"""The wheel holds everything: it runs in an environment that has nothing else."""

import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from fakes.service_process import running_service

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
CASE = {"output": "Paris.", "criteria": ["It is correct.", {"type": "equals", "value": "Paris."}]}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The Python of an empty environment with the freshly built wheel and its locked needs."""
    built = tmp_path / "dist"
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built, ROOT)
    run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    lock = ROOT / "requirements" / "serve.txt"
    run(BIN / "uv", "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
    run(BIN / "uv", "pip", "install", "--quiet", "--python", python, "--no-deps", *built.iterdir())
    return python


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


@pytest.mark.timeout(180)
async def test_the_wheel_alone_starts_and_judges(installed: Path, tmp_path: Path):
    """Templates, scripts and the private Redis are all inside."""
    async with (
        running_service(tmp_path, python=installed) as service,
        aiohttp.ClientSession(service.url) as session,
        session.post("/v1/evaluations", json=CASE, headers={"Idempotency-Key": "a"}) as answer,
    ):
        body = await answer.json()
    assert answer.status == 200, body
    assert [result["status"] for result in body["results"]] == ["scored", "scored"]
