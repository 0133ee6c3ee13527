"""`assay evaluate` without a service: the engine in the same process."""

import json
import signal
import time

import pytest


@pytest.fixture
def simulated(tmp_path):
    """A configuration whose judge asks no model."""
    path = tmp_path / "assay.toml"
    path.write_text(
        '[providers.sim]\ndialect = "simulated"\n'
        '[models."sim/judge"]\nprovider = "sim"\nname = "judge"\n'
        '[judges.default]\nmodels = ["sim/judge"]\n'
    )
    return path


def test_rows_are_scored_without_a_service(assay, simulated):
    """With no URL the file is scored here, and simulated verdicts are called so."""
    rows = '{"id": 1, "output": "Paris"}\n{"id": 2}\n{"id": 3, "output": "Rome"}\n'
    ran = assay("evaluate", "-", "--criteria=polite", "--out=-", "--config", simulated, stdin=rows)
    one, bad, three = (json.loads(line) for line in ran.stdout.splitlines())
    assert ran.returncode == 3
    assert one["evaluation"]["results"][0]["judge"]["model"]
    assert bad["error"]["code"] == "invalid_request"
    assert three["id"] == 3
    assert "2 verdicts are SIMULATED" in ran.stderr


def test_a_wrong_configuration_is_wrong_use(assay, tmp_path):
    """An invalid configuration is reported before any row is read."""
    (tmp_path / "bad.toml").write_text("[servr]\n")
    ran = assay("evaluate", "-", "--criteria=t", "--config=bad.toml", stdin="")
    assert ran.returncode == 2
    assert "servr" in ran.stderr


def test_an_interrupt_ends_both_the_run_and_the_engine(assay_started, simulated, tmp_path):
    """Ctrl-C keeps what is done and leaves with 130 also where the engine runs here."""
    process = assay_started(
        "evaluate", "-", "--criteria=t", "--out=out.jsonl", "--config", simulated
    )
    process.stdin.write('{"output": "x"}\n')
    process.stdin.flush()
    out = tmp_path / "out.jsonl"
    wait_until(lambda: out.exists() and out.read_bytes().endswith(b"\n"))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert "Traceback" not in process.stderr.read()


def wait_until(condition):
    for _ in range(1_000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("did not happen")
