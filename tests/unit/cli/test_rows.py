"""Rows of the command line: JSON Lines, CSV and Parquet, from files and from a pipe."""

import asyncio
import io
import json
import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from assay.cli.rows import Source, read_rows, stream_rows
from fakes.cli_environment import environment

CSV = 'id,output,context,topic,reference\n1,"Paris,\nof course",in France,geo,\n2,London,,,Rome\n'
CASES = [
    {"output": "Paris,\nof course", "context": ["in France"], "fields": {"topic": "geo"}},
    {"output": "London", "reference": "Rome"},
]


def of(path, *form):
    return [(row.id, row.case, row.fault) for row in Source(str(path), *form).rows()]


def write_parquet(path):
    columns = {"id": [1, 2], "output": ["Paris", None], "score": [0.5, float("nan")]}
    parquet.write_table(pa.table(columns), path)


@pytest.mark.parametrize(("name", "form"), [("a.csv", ()), ("a", ()), ("a.txt", ("csv",))])
def test_csv(tmp_path, name, form):
    """By its name, by its beginning, or because it is said; other columns are `fields`."""
    (tmp_path / name).write_text(CSV)
    assert [case for _, case, _ in of(tmp_path / name, *form)] == CASES
    assert [found for found, _, _ in of(tmp_path / name, *form)] == ["1", "2"]


def test_what_is_no_text_spoils_its_row_alone(tmp_path):
    """A cell that is not UTF-8 cannot be sent."""
    (tmp_path / "a.csv").write_bytes(b"id,output\n1,\xff\n2,fine\n")
    assert [fault for _, _, fault in of(tmp_path / "a.csv")] == ["must be UTF-8", ""]


def test_a_text_as_fields_spoils_its_row_alone(assay, service, tmp_path):
    """The error names the column, and the command ends."""
    (tmp_path / "a.csv").write_text("input,output,fields,topic\npass,x,text,t\npass,x,,t\n")
    ran = assay("evaluate", "a.csv", "--criteria", "Tone.", "--url", service.url)
    assert (ran.returncode, len(service.bodies)) == (3, 1)
    assert "line 2: bad_row: fields must be an object" in ran.stderr


def test_a_failure_while_rows_are_read_ends_the_run():
    """Whatever it is, it is raised where the rows are awaited."""

    class Broken(Source):
        def rows(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(anext(stream_rows(Broken("a"))))


@pytest.mark.parametrize(("name"), ["a.parquet", "a"])
def test_parquet(tmp_path, name):
    """Null and NaN are missing fields."""
    write_parquet(tmp_path / name)
    assert of(tmp_path / name) == [
        (1, {"output": "Paris", "fields": {"score": 0.5}}, ""),
        (2, {}, ""),
    ]


def test_json_lines_stay_as_they_are(tmp_path):
    """A field that no case has is for the service to refuse; `end` is the offset of the line."""
    rows = list(read_rows(io.BytesIO(b'{"id":1,"outptu":"x"}\n\n{"output":"y"}\n')))
    assert [(row.line, row.end, row.case) for row in rows] == [
        (1, 22, {"outptu": "x"}),
        (3, 38, {"output": "y"}),
    ]


def test_a_broken_line_does_not_make_json_a_table(tmp_path):
    """What looks like neither is read as JSON Lines, and its fault is said."""
    (tmp_path / "a").write_text("{nonsense, output\n")
    ((_, _, fault),) = of(tmp_path / "a")
    assert "must be valid JSON" in fault


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_come_through_a_pipe(assay, service, tmp_path, form):
    """The format is seen from the beginning of stdin."""
    if form == "parquet":
        columns = {"input": ["pass"], "output": ["x"]}
        parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
        content = (tmp_path / "a.parquet").read_bytes()
    else:
        content = b"input,output\npass,x\n"
    words = [*("evaluate", "-", "--criteria", "t", "--url", service.url), *("--out", "-", "-q")]
    ran = subprocess.run(
        [sys.executable, "-m", "assay", *words],
        input=content, capture_output=True, check=False, env=environment(), timeout=30,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["evaluation"]["score"] == 1.0
    assert b"rows/s" not in ran.stderr


def test_a_client_alone_says_what_reads_parquet(tmp_path):
    """Nothing is sent; the message names the extra."""
    write_parquet(tmp_path / "a.parquet")
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "sys.argv = ['assay', 'evaluate', 'a.parquet', '--criteria=t', '--url=http://127.0.0.1:1']\n"
        "from assay.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, check=False, cwd=tmp_path, env=environment(), timeout=30,
    )  # fmt: skip
    assert ran.returncode == 2
    assert b"assay-judge[server]" in ran.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("It is polite.", "a rubric in words"),
        ('[{"type": "contains", "value": "x"}, "polite"]', "2 criteria as JSON"),
        ("@rubric.txt", "a rubric in words"),
        ("@criteria.json", "a criterion as JSON"),
    ],
)
def test_what_was_taken_for_criteria_is_said(assay, service, tmp_path, option, said):
    """On stderr, unless it is to be quiet."""
    (tmp_path / "rubric.txt").write_text("It is polite.\n")
    (tmp_path / "criteria.json").write_text('{"type": "contains", "value": "x"}')
    (tmp_path / "a.csv").write_text("input,output\npass,x\n")
    words = ("evaluate", "a.csv", "--criteria", option, "--url", service.url)
    assert said in assay(*words).stderr
    assert said not in assay(*words, "--quiet").stderr
