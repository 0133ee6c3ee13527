"""The interface page tells the truth: its example runs, and its tables are complete."""

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
    assert [each["name"] for each in body["results"]] == ["contains", "clarity", "rubric"]
    assert body["metadata"] == request["metadata"]


def test_every_code_and_reason_is_on_the_page():
    """No problem code and no reason is left out."""
    for word in (*PROBLEM_TYPES, *get_args(Reason)):
        assert f"`{word}`" in PAGE, word
