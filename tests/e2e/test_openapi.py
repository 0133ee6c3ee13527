"""The OpenAPI document is true: it allows what the service accepts, and nothing else."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest

from assay.bootstrap.document import openapi_document
from assay.http.keys_file import new_key
from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium
from fakes.service_process import running_service

HERE = Path(__file__).parent

# The longest `timeout_ms` of the document, which an installation may lower.
CONFIG = """
[server]
request_timeout_ms = 600_000

[auth]
keys_file = "keys"

[providers.simulated]
dialect = "simulated"

[models."simulated/judge"]
provider = "simulated"
name = "judge"
"""

# The coverage phase visits every combination of every criterion's fields: its time is bounded.
PHASES = {
    "fuzzing": ["--max-examples", "20", "--max-time", "40"],
    "coverage": ["--max-time", "20"],
    "stateful": ["--max-examples", "5", "--max-time", "20"],
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("phase", PHASES)
async def test_generated_requests_get_documented_answers(tmp_path, phase):
    """Schemathesis derives valid and invalid requests from the document, with a key and without.

    None of its checks finds a difference, in any operation; schemathesis.toml has the exceptions.
    """
    key, line = new_key("me")
    (tmp_path / "keys").write_text(line)
    async with running_service(tmp_path, CONFIG) as service:
        done = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            "--config-file", HERE / "schemathesis.toml",
            "run", f"{service.url}/openapi.json",
            "--generation-deterministic",
            "--phases", phase,
            *PHASES[phase],
            cwd=tmp_path,
            env={
                "ASSAY_KEY": key,
                "PATH": "",
                "PYTHONPATH": str(HERE.parent),
                "SCHEMATHESIS_HOOKS": "fakes.generated_requests",
            },
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said = (await done.communicate())[0].decode()
        async with (
            aiohttp.ClientSession(service.url) as session,
            session.get("/openapi.json") as answer,
        ):
            paths = (await answer.json())["paths"]
    operations = sum(len(methods) for methods in paths.values())
    assert f"Selected: {operations}/{operations}" in said, said
    assert "generated" in said, said
    assert done.returncode == 0, said


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
async def test_the_docs_page_works_without_any_other_host(tmp_path):
    """In a browser it shows every operation with its examples, and loads nothing from elsewhere."""
    async with running_service(tmp_path) as service, chromium(service.url) as browser:
        page = await browser.new_page()
        await page.goto("/docs")
        await page.locator(".opblock").first.wait_for()
        assert await page.locator(".opblock").count() == sum(
            map(len, openapi_document()["paths"].values())
        )
        await page.locator("#operations-evaluations-create_evaluation button").first.click()
        await page.get_by_text("Answers the question.").first.wait_for()
