"""The OpenAPI document is true: whatever it allows gets a documented answer, never a 5xx."""

import subprocess
import sys
from pathlib import Path

from fakes.service_process import running_service

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = 15


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
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Tested: 4" in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout
