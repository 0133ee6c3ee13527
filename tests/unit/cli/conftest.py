"""Runs `assay` as a real process."""

import contextlib
import os
import pty
import subprocess
import sys

import pytest

from fakes.cli_environment import environment
from fakes.service import FakeService


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
def assay_on_a_terminal(tmp_path):
    """Start the command on a terminal and wait for it; returns all that it drew."""

    def start(*arguments, env=None):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "assay", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=tmp_path,
            env=environment(TERM="xterm-256color", COLUMNS="100", **(env or {})),
        )
        os.close(theirs)
        drawn = b""
        # Linux ends the reading of a terminal that nobody has open with an error.
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65_536):
                drawn += chunk
        os.close(ours)
        process.wait(30)
        return drawn.decode()

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
