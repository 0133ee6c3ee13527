"""`assay batch run` against a real service: upload, results and gate."""

import asyncio
import json
import os
import re
import signal
import sys

import pytest

from fakes.batches import file_of
from fakes.service_process import clean_environment, running_service


@pytest.fixture
async def assay(tmp_path):
    """Runs the command line in a folder with rows, next to a running service."""
    (tmp_path / "rows.jsonl").write_bytes(file_of(10) + b'{"id": "bad"}\n\n{"output": "good"}\n')
    (tmp_path / "good.jsonl").write_bytes(file_of(10))
    (tmp_path / "criteria.json").write_text('{"type": "contains", "value": "good"}')
    async with running_service(tmp_path) as service:

        async def run(*words, command=("batch", "run")):
            criteria = ("--criteria", "@criteria.json") if command[0] == "batch" else ()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "assay", *command, *words,
                *(() if "--criteria" in words else criteria), cwd=tmp_path,
                env={**clean_environment(), "ASSAY_URL": service.url, "PATH": os.environ["PATH"]},
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            output, errors = await process.communicate()
            return process.returncode, output.decode(), errors.decode()

        run.folder = tmp_path
        run.url = service.url
        yield run


async def test_a_gate_that_is_met_and_one_that_is_not(assay):
    """Exit codes 0 and 1; the results are in the order of the rows."""
    code, table, _ = await assay("good.jsonl", "--out", "results.jsonl", "--min-pass-rate", "0.6")
    assert code == 0
    assert "contains" in table
    lines = (assay.folder / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["item_id"] for line in lines] == [f"row-{n}" for n in range(10)]
    code, _, errors = await assay("good.jsonl", "--min-score", "0.7")
    assert code == 1
    assert "gate not met: Failed after 10 of 10 rows" in errors
    assert "0.600, and the gate is 0.7" in errors


async def test_a_gate_may_stop_the_batch_when_it_is_certain(assay):
    """Exit codes as without it; it says by how many rows, and needs a gate that is a number."""
    (assay.folder / "many.jsonl").write_bytes(file_of(3_000))
    for gate, exit_code, verdict in (("0.3", 0, "Passed"), ("0.95", 1, "Failed")):
        words = ("many.jsonl", "--min-pass-rate", gate, "--stop-when-certain")
        code, _, errors = await assay(*words)
        assert code == exit_code, errors
        assert f"{verdict} after" in errors
        assert "rows not judged" in errors
    for words in (("--stop-when-certain",), ("--min-score", "nan")):
        assert (await assay("good.jsonl", *words))[0] == 2


async def test_a_gate_over_simulated_verdicts_is_refused(assay):
    """Exit code 3 without a judgement, and the ordinary ones where that is asked for."""
    words = ("good.jsonl", "--criteria", "polite?", "--min-pass-rate", "0")
    code, _, errors = await assay(*words)
    assert code == 3
    assert "gate refused" in errors
    assert (await assay(*words, "--allow-simulated"))[0] == 0


async def test_invalid_rows_are_reported_by_line_and_leave_the_run_incomplete(assay):
    """Exit code 3, even if the gate is met; a row without an id is named by its line."""
    code, _, errors = await assay("rows.jsonl", "--out", "results.jsonl")
    assert code == 3
    assert "line 11: /output: is required" in errors
    lines = (assay.folder / "results.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["item_id"] == "line-13"


async def test_a_batch_that_cannot_start_is_removed(assay):
    """A file without a single valid row leaves no open batch behind."""
    for text in ("", '{"id": "bad"}\n'):
        (assay.folder / "none.jsonl").write_text(text)
        code, _, errors = await assay("none.jsonl")
        assert (code, "stopped" in errors) == (3, True), errors
    assert (await assay("--json", command=("batch", "list")))[1] == ""


async def test_without_watch_the_batch_continues(assay):
    """The command ends once the batch is started."""
    code, table, errors = await assay("good.jsonl")
    assert (code, table) == (0, "")
    assert "assay: batch batch_" in errors


async def test_wrong_arguments_are_reported(assay):
    """Exit code 2, before anything is sent."""
    assert (await assay("nowhere.jsonl"))[0] == 2
    assert (await assay("good.jsonl", "--url", "example.com"))[0] == 2


async def test_two_batches_of_a_service_are_compared(assay):
    """`assay compare` by their ids, and by the files of their results."""
    ids = []
    for name, source in (("a", "good.jsonl"), ("b", "worse.jsonl")):
        text = (assay.folder / "good.jsonl").read_text()
        (assay.folder / source).write_text(text if name == "a" else text.replace("good", "bad"))
        _, _, errors = await assay(source, "--out", f"{name}.jsonl")
        ids.append(re.search(r"batch_\w+", errors)[0])
    by_id, by_file = [
        await assay(*runs, "--format", "json", command=("compare",))
        for runs in (ids, ("a.jsonl", "b.jsonl"))
    ]
    assert by_id[0] == by_file[0] == 0, "two groups of five rows are too few"
    found, local = json.loads(by_id[1]), json.loads(by_file[1])
    assert found["criteria"] == local["criteria"]
    assert found["criteria"][0]["differences"][0]["groups"] == 2
    assert (await assay(*ids, "--any-regression", command=("compare",)))[0] == 1
    code, _, errors = await assay(ids[0], "batch_" + "0" * 32, command=("compare",))
    assert (code, "No batch has this id" in errors) == (3, True)


async def test_an_interrupt_says_what_became_of_the_batch(assay):
    """While the rows are still sent, no batch continues."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assay", "batch", "run", "-", "--criteria", "@criteria.json",
        cwd=assay.folder, env={**clean_environment(), "ASSAY_URL": assay.url},
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    while b"assay: batch batch_" not in (line := await process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGINT)
    said = (await process.stderr.read()).decode()
    assert "interrupted; the batch is not started" in said
    assert await process.wait() == 130
