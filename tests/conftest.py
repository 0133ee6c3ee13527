"""What holds for every test."""

import signal
import time
from collections.abc import Callable

import pytest
from hypothesis import settings

# How long an example takes says something about the machine and nothing about the code.
settings.register_profile("assay", deadline=None)
settings.load_profile("assay")

# A shell starts its background jobs with interrupts ignored, and the processes that the tests
# start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def elapsed_s() -> Callable[[], float]:
    """How long the test has run: what fills by the second may have filled by so much."""
    started_s = time.monotonic()
    return lambda: time.monotonic() - started_s
