"""The API page is true: its example runs, and its tables are complete."""

import json
import re
from pathlib import Path
from typing import get_args

import aiohttp

from assay.domain.errors import Reason
from assay.http.problems import PROBLEM_TYPES
from fakes.service_process import running_service

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


async def test_the_example_is_a_valid_request(tmp_path):
    """The request on the page is answered with a result for each of its criteria."""
    request = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    async with (
        running_service(tmp_path) as service,
        aiohttp.ClientSession(service.url) as session,
        session.post("/v1/evaluations", json=request) as answer,
    ):
        body = await answer.json()
    assert answer.status == 200, body
    assert [result["name"] for result in body["results"]] == ["contains", "clarity", "rubric"]
    assert body["metadata"] == request["metadata"]


def test_every_reason_is_on_the_page():
    """No reason is left out."""
    for reason in get_args(Reason):
        assert f"`{reason}`" in PAGE, reason


def test_every_code_is_on_the_page_with_its_status():
    """The table of errors has each problem code once, beside the status that the API gives."""
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", PAGE, re.MULTILINE)
    listed = [
        (code, int(status)) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)
    ]
    assert sorted(listed) == sorted((code, kind.status) for code, kind in PROBLEM_TYPES.items())
