"""The OpenAPI document is true: whatever it allows gets a documented answer, never a 5xx."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest

from fakes.service_process import running_service

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)

NDJSON_OPERATION = "upload_batch_items"
"""Schemathesis has no way to write JSON Lines; tests/e2e/test_batches.py sends bad ones."""

# The coverage phase visits every combination of every criterion's fields: its time is bounded.
PHASES = {
    "fuzzing": ["--max-examples", "40", "--generation-deterministic"],
    "coverage": ["--max-time", "20"],
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("phase", PHASES)
async def test_generated_requests_get_documented_answers(tmp_path, phase):
    """Schemathesis derives valid and invalid requests from the document and checks the answers."""
    async with running_service(tmp_path) as service:
        done = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{service.url}/openapi.json",
            "--checks", ",".join(CHECKS),
            "--phases", phase,
            "--exclude-operation-id", NDJSON_OPERATION,
            *PHASES[phase],
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said = (await done.communicate())[0].decode()
        async with (
            aiohttp.ClientSession(service.url) as session,
            session.get("/openapi.json") as answer,
        ):
            paths = (await answer.json())["paths"]
    operations = sum(len(methods) for methods in paths.values())
    assert f"{operations - 1} selected" in said, said
    assert "generated" in said, said
    assert done.returncode == 0, said
