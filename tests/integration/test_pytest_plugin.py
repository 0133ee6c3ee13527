"""The plugin and the reports with a real service, as a user has them."""

import json
import re
import subprocess
import sys

from fakes.service_process import clean_environment

TESTS = """
import pytest
from assay.pytest_plugin import assay_cases

CRITERIA = ["Polite.", {"type": "contains", "name": "capital", "value": "Paris"}]

@pytest.mark.parametrize("case", assay_cases("cases.jsonl"))
def test_answers(assay, case):
    assay.check(**case, criteria=CRITERIA[1])

def test_simulated(assay):
    assay.check(output="Paris.", criteria=CRITERIA)
"""
CASES = [
    {"id": "france", "input": "Capital of France?", "output": "Paris."},
    {"id": "italy", "input": "Capital of Italy?", "output": "Rome."},
]


def run_tests(folder, *options):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "assay.pytest_plugin.hooks", "-p", "xdist.plugin",
         *options],
        cwd=folder,
        env={**clean_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )  # fmt: skip


def test_a_private_service_is_shared_and_its_verdicts_are_replayed(tmp_path):
    """Two processes of xdist ask one private service; the record then answers without it."""
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, CASES)))
    options = ("--assay-record=verdicts.jsonl", "--assay-report=report.html")
    ran = run_tests(tmp_path, "-n2", "--assay-local", *options)
    assert "2 failed, 1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "1 of 1 criteria failed: capital" in ran.stdout
    assert "1 of 2 criteria simulated: polite" in ran.stdout
    assert "3 judgements (3 service)" in ran.stdout
    assert "the output does not contain" in (tmp_path / "report.html").read_text()
    entries = [*map(json.loads, (tmp_path / "verdicts.jsonl").read_text().splitlines())]
    assert {entry["path"] for entry in entries} == {"/v1/evaluations"}

    again = run_tests(tmp_path, "--assay-replay=verdicts.jsonl", "--assay-allow-simulated")
    # What a simulated judge says follows from the prompt: here it counts as it was recorded.
    is_polite = (
        re.search(r'"name": ?"polite"[^{}]*?"passed": ?true', json.dumps(entries)) is not None
    )
    assert ("1 failed, 2 passed" if is_polite else "2 failed, 1 passed") in again.stdout
    assert ("1 of 2 criteria failed: polite" in again.stdout) is not is_polite
    assert "3 judgements (3 replayed)" in again.stdout
