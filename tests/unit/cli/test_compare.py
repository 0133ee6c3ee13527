"""`assay compare` on files: the reports in all forms, and the exit codes."""

import json
from xml.etree import ElementTree as ET

import pytest

from assay.batches.comparing import compare_results
from assay.cli.comparison_report import rendered
from assay.domain.exact_json import dumps, loads
from fakes.runs import result, run_of


def lines(scores, **fields):
    rows = [{**result(f"i{n}", polite=score), **fields} for n, score in enumerate(scores)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "base.jsonl").write_text(lines([1] * 40))
    (tmp_path / "worse.jsonl").write_text(lines([0] * 8 + [1] * 32))
    (tmp_path / "one.jsonl").write_text(lines([0] + [1] * 39))
    return tmp_path


def test_a_significant_regression_fails_the_gate(assay, files):
    """Exit code 1, and the table says by how much and in which rows."""
    done = assay("compare", "base.jsonl", "worse.jsonl", "--rows", "2", env={"COLUMNS": "40"})
    assert done.returncode == 1, done.stderr
    for words in (
        "-0.2000",
        "regression",
        "rows that are worse: 8, of which the first 2",
        "i1: 1 passed to 0",
    ):
        assert words in done.stdout


def test_reports_are_written_to_files_beside_the_table(assay, files):
    """One run gives all three, and a folder that is missing is named."""
    words = ("compare", "base.jsonl", "worse.jsonl")
    done = assay(*words, "--junit", "junit.xml", "--markdown", "report.md")
    assert done.returncode == 1, done.stderr
    assert "Comparison" in done.stdout
    assert parsed((files / "junit.xml").read_text()).get("failures") == "1"
    assert (files / "report.md").read_text().startswith("| criterion |")
    assert assay(*words, "--junit", "missing/junit.xml").returncode == 2


def test_any_worse_row_fails_where_that_is_asked_for(assay, files):
    """One lost pass of forty may be chance."""
    done = assay("compare", "base.jsonl", "one.jsonl", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["criteria"][0]["regressions"]["total"] == 1
    assert assay("compare", "base.jsonl", "one.jsonl", "--any-regression").returncode == 1


def test_files_of_evaluate_are_read_as_well(assay, files):
    """A row without an id is known by its line, and one with an error is unscored."""
    kept = [{"line": n, "id": None, "evaluation": result("", polite=1)} for n in (1, 2)]
    failed = {"line": 2, "id": None, "error": {"code": "overloaded", "message": "…"}}
    for name, rows in (("a.jsonl", kept), ("b.jsonl", [kept[0], failed])):
        (files / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = assay("compare", "a.jsonl", "b.jsonl", "--format", "json")
    (row,) = json.loads(done.stdout)["criteria"][0]["unscored"]["rows"]
    assert (row["item_id"], row["candidate"]["reason"]) == ("line-2", "overloaded")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("base.jsonl", "gone.jsonl"), 2, "gone.jsonl: No such file"),
        (("base.jsonl", "batch_" + "0" * 32), 2, "must both be ids of batches"),
        (("base.jsonl", "broken.jsonl"), 2, "broken.jsonl: line 2: must be a result of a batch"),
        (("base.jsonl", "twice.jsonl"), 2, "line 2: this item has a result already"),
        (("base.jsonl", "other.jsonl"), 3, "no item id in common"),
        (("base.jsonl", "simulated.jsonl"), 3, "verdicts are simulated"),
    ],
)
def test_what_cannot_be_compared_is_told(assay, files, words, code, said):
    """Wrong arguments are 2, and a comparison without a meaning is 3."""
    (files / "broken.jsonl").write_text(lines([1]) + '{"item_id": "x", "results": [{}]}\n')
    (files / "twice.jsonl").write_text(lines([1]) * 2)
    (files / "other.jsonl").write_text(lines([1]).replace("i0", "x"))
    (files / "simulated.jsonl").write_text(lines([1] * 40, simulated=True))
    done = assay("compare", *words)
    assert done.returncode == code
    assert said in done.stderr


def parsed(text):
    return ET.fromstring(text)  # noqa: S314  # it is our own


def report(form, base, candidate, name="polite", **options):
    runs = [
        run_of(*(result(f"i{n}", **{name: score}) for n, score in enumerate(scores)))
        for scores in (base, candidate)
    ]
    document = loads(dumps(compare_results(*runs, 20)))
    return rendered(document, form, **{"any_regression": False, **options})


def test_junit_has_a_case_for_each_criterion():
    """A regression is a failure, and what cannot be tested an error."""
    worse = parsed(report("junit", [1] * 40, [0] * 8 + [1] * 32))
    assert (worse.get("tests"), worse.get("failures"), worse.get("errors")) == ("1", "1", "0")
    failure = worse.find("testcase/failure")
    assert failure.get("message") == "rows that are worse: 8"
    assert "i7: 1 passed to 0 failed" in failure.text
    untested = parsed(report("junit", [1, None], [None, 1]))
    assert untested.get("errors") == "1"
    one = [[1] * 40, [0] + [1] * 39]
    assert parsed(report("junit", *one)).get("failures") == "0"
    assert parsed(report("junit", *one, any_regression=True)).get("failures") == "1"


@pytest.mark.parametrize("name", ["a|b <script>*", "a\x00\x1b[31m\nb", "]]>&\ufffe"])
def test_a_hostile_name_breaks_no_report(name):
    """Names are the caller's text: each form escapes what it would take for its own."""
    parsed(report("junit", [1], [0], name))
    table, markdown = report("table", [1], [0], name), report("markdown", [1], [0], name)
    assert not {"\x00", "\x1b", "\ud800"} & set(table + markdown)
    header, _, row, blank = markdown.split("\n")[:4]
    assert blank == ""
    assert row.replace("\\|", "").count("|") == header.count("|")
    assert "<script>" not in markdown
