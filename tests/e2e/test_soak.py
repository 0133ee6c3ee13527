"""A short soak: random faults, a healthy fallback, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "soak.py"
SHORT = (
    *("--seconds", "12", "--callers", "10", "--pause-s", "0.2", "--rows", "20", "--idle-s", "2"),
)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_random_faults_leave_nothing_unscored_and_nothing_behind():
    """With 30 % faults every case is scored in time; no task, file or memory is kept.

    `bench/soak.py` alone runs for five minutes.
    """
    run = subprocess.run(
        [sys.executable, str(BENCH), *SHORT],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    figures = json.loads(run.stdout)
    assert run.returncode == 0, figures
    assert figures["failed_attempts"] > 0
    assert figures["not_scored"] == {}
