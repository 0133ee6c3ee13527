"""The OpenAPI document is true: whatever it allows gets a documented answer, never a 5xx."""

import asyncio
import sys
from pathlib import Path

import pytest

from fakes.service_process import running_service

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = 8


@pytest.mark.timeout(240)
async def test_generated_requests_get_documented_answers(tmp_path):
    """Schemathesis derives valid and invalid requests from the document and checks the answers."""
    async with running_service(tmp_path) as service:
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{service.url}/openapi.json",
            "--checks", ",".join(CHECKS),
            "--phases", "examples,coverage,fuzzing",
            "--max-examples", str(EXAMPLES),
            "--generation-deterministic",
        ]  # fmt: skip
        done = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        said = (await done.communicate())[0].decode()
    assert "Tested: 4" in said, said
    assert done.returncode == 0, said
