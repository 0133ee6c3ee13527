"""The client against a real service process, which it starts by itself."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest

from assay import Assay, AsyncAssay
from assay.client import wire
from assay.client.local import LocalService
from assay.errors import Conflict, InvalidRequest, LocalServiceError, NotFound, TimedOut
from fakes.service_process import ROOT, clean_environment

CONTAINS = {"type": "contains", "name": "good", "value": "good"}
ROWS = [{"output": f"{'good' if n % 4 else 'bad'} {n}", "topic": n % 2} for n in range(40)]
GATE = {"criterion": "good", "min_pass_rate": 0.7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder without a configuration, in an environment without one."""
    before, here = dict(os.environ), os.getcwd()  # noqa: PTH109
    os.environ.clear()
    os.environ.update(clean_environment())
    os.chdir(tmp_path_factory.mktemp("client"))
    yield
    os.chdir(here)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def client(folder):
    with Assay.local() as client:
        yield client


def test_a_case_is_judged(client):
    """A judged criterion and a check come back by their names."""
    result = client.evaluate(input="How?", output="A good one.", criteria=["Polite.", CONTAINS])
    assert result["good"].passed
    assert result["polite"].model == "judge"
    assert result.simulated


def test_what_is_wrong_with_a_request_is_named(client):
    """The error has the pointer to the field at fault."""
    with pytest.raises(InvalidRequest, match="/criteria/0/valeu"):
        client.evaluate(output="x", criteria=[{"type": "contains", "valeu": "x"}])


def test_a_frame_is_scored_in_order(client):
    """Each row of a frame has its result; a bad one has the error, and the others are kept."""
    frame = pd.DataFrame([*ROWS, {"output": None, "topic": 1}])
    results = list(client.evaluate_many(frame, CONTAINS, concurrency=4))
    assert [one.passed for one in results] == [*("good" in row["output"] for row in ROWS), None]
    assert isinstance(results[-1].error, InvalidRequest)


def test_a_batch_is_a_gate(client, capsys):
    """Rows go up, the batch is followed, its gates are decided, and the results are in order."""
    first = client.batches.create(CONTAINS, rows=pd.DataFrame(ROWS), gates=[GATE])
    assert first.wait(progress=True).passed is True
    assert "40 of 40 rows" in capsys.readouterr().err
    results = list(first.results())
    assert [one.item_id for one in results] == [f"row-{n}" for n in range(1, 41)]
    assert [one.passed for one in results] == ["good" in row["output"] for row in ROWS]
    failed = list(first.results(criterion="good", passed="false"))
    assert len(failed) == 10

    worse = [{**row, "output": "bad"} for row in ROWS]
    second = client.batches.create(CONTAINS, rows=iter(worse), gates=[GATE]).wait()
    assert second.passed is False
    comparison = second.compare(first)
    assert comparison["regression"] is True
    assert {second.id, first.id} <= {one.id for one in client.batches.list(limit=1)}


def test_a_batch_with_a_bad_row_is_not_begun(client):
    """The error names the line, and no batch is left behind."""
    before = len(list(client.batches.list()))
    with pytest.raises(InvalidRequest, match=r"1 rows are invalid.*/2: /output"):
        client.batches.create(CONTAINS, rows=[{"output": "good"}, {"input": "x"}])
    assert len(list(client.batches.list())) == before


def test_a_batch_whose_rows_end_in_an_error_leaves_nothing(client):
    """Whether the rows raise it, or there are none."""

    def rows():
        yield {"output": "good"}
        raise ZeroDivisionError

    before = len(list(client.batches.list()))
    with pytest.raises(ZeroDivisionError):
        client.batches.create(CONTAINS, rows=rows())
    with pytest.raises(Conflict, match="no rows"):
        client.batches.create(CONTAINS, rows=[])
    assert len(list(client.batches.list())) == before


def test_waiting_has_an_end(client):
    """A batch that is not started never ends: the wait does, and the batch can be cancelled."""
    batch = client.batches.create(CONTAINS)
    with pytest.raises(TimedOut):
        batch.wait(timeout_s=0.0)
    assert batch.cancel().status == "cancelled"
    batch.delete()
    with pytest.raises(NotFound):
        batch.refresh()


def test_records_are_kept_and_listed(client):
    """Evaluators, datasets, labels and calibrations, from one to the other, over pages."""
    made = client.evaluators.create("quality", ["Polite.", CONTAINS])
    with pytest.raises(Conflict):
        client.evaluators.create("quality", CONTAINS)
    client.evaluators.add_version("quality", CONTAINS)
    assert [one["version"] for one in client.evaluators.versions("quality")] == [2, 1]
    assert client.evaluators.get("quality")["id"] == made["id"]

    client.datasets.create("answers")
    rows = [{"id": f"q{n}", **row} for n, row in enumerate(ROWS)]
    client.datasets.upload("answers", rows[:20])
    assert client.datasets.upload("answers", rows[20:], append=True)["items"] == 40
    items = list(client.datasets.items("answers", limit=7))
    assert [item["id"] for item in items] == [row["id"] for row in rows]
    assert items[0]["fields"] == {"topic": 0}

    batch = client.batches.create(dataset="answers", evaluator="quality@2").wait()
    labels = [
        {
            "item": {"batch": batch.id, "item_id": row["id"]},
            "criterion": "good",
            "annotator": "mira",
            "passed": "good" in row["output"],
        }
        for row in rows
    ]
    assert len(client.labels.add(labels)) == 40
    assert len(list(client.labels.list(batch=batch.id, limit=9))) == 40
    report = client.calibrations.create(batch.id)
    assert report["criteria"][0]["labels"] == 40
    assert [one["id"] for one in client.calibrations.list()] == [report["id"]]
    client.datasets.delete("answers")
    with pytest.raises(NotFound):
        client.datasets.get("answers")


def test_models_and_comparisons(client):
    """What may judge is listed, and two outputs are compared."""
    assert "simulated/judge" in {model["id"] for model in client.models()}
    found = client.compare(output_a="a", output_b="b", criteria="Which is better?")
    assert found["object"] == "comparison"


async def test_the_async_client_does_the_same(client):
    """Cases, a batch and pages, side by side on one event loop."""
    async with AsyncAssay(client.url) as other:
        one, two = await asyncio.gather(
            other.evaluate(output="good", criteria=CONTAINS),
            other.evaluate(output="bad", criteria=CONTAINS),
        )
        assert (one.passed, two.passed) == (True, False)
        batch = await other.batches.create(CONTAINS, rows=ROWS, gates=[GATE])
        assert (await batch.wait()).passed
        assert len([one async for one in batch.results()]) == 40
        assert batch.id in [one.id async for one in other.batches.list()]


def test_a_private_service_leaves_nothing(folder):
    """With the client, its service ends and its folder goes."""
    client = Assay.local()
    service = client._local
    assert service is not None
    client.close()
    client.close()
    assert service._process.returncode is not None
    assert not service._log.parent.exists()


def test_a_fork_leaves_the_private_service_to_its_parent(folder):
    """A child that closes the client, or ends, takes nothing from it."""
    with Assay.local() as client:
        if (pid := os.fork()) == 0:
            client.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert client._local is not None
        assert client._local._log.exists()
        assert client.evaluate(output="good", criteria=CONTAINS).passed


def test_wrong_settings_start_no_private_service(folder, monkeypatch):
    """The error comes before a service that nobody would close."""
    monkeypatch.setattr(LocalService, "__init__", lambda *_: pytest.fail("started"))
    with pytest.raises(TypeError, match="timeout"):
        Assay.local(timeout=5)


def test_a_private_service_says_why_it_does_not_start(folder):
    """The error has the service's own words, and nothing is left running."""
    with pytest.raises(LocalServiceError, match="No such option"):
        LocalService(["--nonsense"])


def test_a_private_service_ends_with_its_parent(folder):
    """Also if the parent is killed and cannot clean up."""
    code = "import time, assay; print(assay.Assay.local().url, flush=True); time.sleep(600)"
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    with Assay(url, timeout_s=5.0) as client:
        assert client.evaluate(output="good", criteria=CONTAINS).passed
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    port = int(url.rpartition(":")[2])
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            socket.create_connection(("127.0.0.1", port), 5).close()
            time.sleep(0.05)


def test_a_private_service_is_not_shown_the_key_of_another(folder, monkeypatch):
    """`ASSAY_API_KEY` belongs to the service of `ASSAY_URL`; a key for this one is a setting."""
    monkeypatch.setenv("ASSAY_API_KEY", "of-another-service")
    seen = []
    monkeypatch.setattr(LocalService, "__init__", lambda *_: None)
    monkeypatch.setattr(LocalService, "url", "http://127.0.0.1:9", raising=False)
    monkeypatch.setattr(LocalService, "close", lambda *_: None)
    monkeypatch.setattr(wire, "call_headers", lambda key: seen.append(key) or {})
    Assay.local().close()
    Assay.local(api_key="its-own").close()
    assert seen == ["", "its-own"]
