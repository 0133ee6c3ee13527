"""Runs `assay` as a real process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.service import FakeService

SOURCE = Path(__file__).parents[3] / "src"


def environment(**extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", **extra}


@pytest.fixture
def service():
    with FakeService() as running:
        yield running


@pytest.fixture
def assay(tmp_path):
    """Start the command and wait for it: `assay("evaluate", ..., stdin=..., env=...)`."""

    def start(*arguments, stdin=None, env=None):
        return subprocess.run(
            [sys.executable, "-m", "assay", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=environment(**(env or {})),
            encoding="utf-8",
            timeout=30,
        )

    return start


@pytest.fixture
def assay_started(tmp_path):
    """Start the command and do not wait; what still runs at the end is ended."""
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "assay", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(),
            encoding="utf-8",
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
