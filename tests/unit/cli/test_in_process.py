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
    assert one["evaluation"]["simulated"]
    assert bad["error"]["code"] == "invalid_request"
    assert three["id"] == 3
    assert "2 verdicts are SIMULATED" in ran.stderr


@pytest.mark.parametrize("bound", ["--min-pass-rate=0", "--min-score=0"])
def test_a_gate_over_simulated_verdicts_is_refused(assay, simulated, bound):
    """Nothing was judged, so the gate is neither met nor missed, unless that is asked for."""
    arguments = ("evaluate", "-", "--criteria=polite", "--config", simulated, bound)
    refused = assay(*arguments, stdin='{"output": "Paris"}\n')
    assert refused.returncode == 3
    assert "gate refused" in refused.stderr
    allowed = assay(*arguments, "--allow-simulated", stdin='{"output": "Paris"}\n')
    assert allowed.returncode == 0
    assert "gate refused" not in allowed.stderr


def test_a_wrong_configuration_is_wrong_use(assay, tmp_path):
    """An invalid configuration is reported before any row is read."""
    (tmp_path / "bad.toml").write_text("[servr]\n")
    ran = assay("evaluate", "-", "--criteria=t", "--config=bad.toml", stdin="")
    assert ran.returncode == 2
    assert "servr" in ran.stderr


BAR = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
CLEAR_LINE = "\x1b[2K"


def test_a_log_line_does_not_break_the_progress_bar(assay_on_a_terminal, tmp_path):
    """A line starts where the bar was cleared, and the bar is drawn again on a line of its own."""
    (tmp_path / "assay.toml").write_text(
        '[providers.away]\ndialect = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'
        '[models.m]\nprovider = "away"\nname = "m"\n'
    )
    (tmp_path / "rows.jsonl").write_text('{"output": "x"}\n' * 3)
    screen = assay_on_a_terminal("evaluate", "rows.jsonl", "--criteria=polite", "--retry-for-s=0")
    lines = [line.rpartition(CLEAR_LINE)[2] for line in screen.splitlines()]
    logged = [line for line in lines if "attempt" in line]
    assert logged
    assert not any(BAR in line for line in logged)
    assert any(BAR in line for line in lines[lines.index(logged[-1]) :])


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
