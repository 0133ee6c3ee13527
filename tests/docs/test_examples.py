"""The programs in examples/ run unchanged against a real service, and print what they promise."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from fakes.service_process import clean_environment, running_service

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES_MAX = 60
SAID = {
    "first_verdict": (0, ("names_the_link: True, the output contains 'Forgot password'",)),
    "gate_a_release": (1, ("no_excuse: 1 rows are worse", "refund, no_excuse: ")),
    "score_a_dataframe": (0, ("Paris, of course!", "large", "Name: score")),
    "calibrate_a_judge": (0, ("polite: 16 labels", "kappa")),
    "async_many": (0, ("order-30: ",)),
}


def test_each_example_is_small_and_tried():
    """No example is without a test, and each fits on a screen."""
    found = {path.stem: path.read_text().splitlines() for path in EXAMPLES.glob("*.py")}
    assert set(found) == set(SAID)
    assert max(map(len, found.values())) < LINES_MAX


@pytest.mark.parametrize("name", SAID)
async def test_an_example_does_what_it_says(tmp_path, name):
    """It runs to its end, with the exit code that it promises."""
    code, words = SAID[name]
    async with running_service(tmp_path) as service:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            EXAMPLES / f"{name}.py",
            env={**clean_environment(), "ASSAY_URL": service.url, "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    said = output.decode()
    assert "Traceback" not in errors.decode(), errors.decode()
    assert process.returncode == code
    assert [word for word in words if word not in said] == [], said
