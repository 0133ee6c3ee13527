"""Reports of results, in each of their forms."""

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from assay.reports.html import to_html
from assay.reports.report import ROWS_KEPT_MAX, RunReport
from assay.reports.text import text_table
from assay.reports.writers import to_junit, to_markdown, write_report

AT = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
HOSTILE = "</style><script>alert(1)</script> | <b>*x*</b> \x00\x1b[31m \ud800 &amp; ]]> اب\n# two"


def evaluation(score, name="polite", explanation="So it is.", **more):
    passed = None if score is None else score >= 0.5
    result = {
        "name": name,
        "status": "unscored" if score is None else "scored",
        "score": score,
        "passed": passed,
        "threshold": 0.5,
        "reason": "judge_parse_error" if score is None else None,
        "explanation": explanation,
        "cost_usd": 0.25,
        **more,
    }
    return {"score": score, "passed": passed, "cost_usd": 0.25, "results": [result]}


@pytest.fixture
def report():
    made = RunReport("assay evaluate rows.jsonl", keep_rows=True)
    made.statements.append("Gate not met.")
    made.add("q1", {"input": "How?", "output": "Well."}, evaluation(1.0))
    made.add("q2", {"output": "Badly."}, evaluation(0.25))
    made.add("q3", {"output": [{"role": "user", "content": "Hm."}]}, evaluation(None))
    made.add_failure("line 4", {}, "bad_row", "bad_row: must be JSON")
    return made


def test_the_page_has_what_happened_and_why(report):
    """Counts, the table, the distribution, and each row that did not pass with its reason."""
    page = to_html(report, AT)
    for said in (
        *("2026-11-26 08:00 UTC", "Gate not met.", "<dt>passed</dt><dd>1</dd>", "Failed (1)"),
        *("Unscored (2)", "Badly.", "failed 0.25 (threshold 0.5)", "So it is.", "0.7500 USD"),
        *("judge_parse_error", "bad_row: must be JSON", "0.2–0.3: 1; ", "Hm."),
    ):
        assert said in page, said
    assert "Well." not in page


def test_junit_has_a_case_for_each_row(report):
    """A row that failed is a failure, an unscored one an error, and the others pass."""
    suite = ET.fromstring(to_junit(report))  # noqa: S314  # our own text
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "2")
    found = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert found == {"q1": [], "q2": ["failure"], "q3": ["error"], "line 4": ["error"]}
    assert "Gate not met." in suite.findtext("system-out", "")


def test_markdown_has_a_table_and_the_rows(report):
    """The table has a row for each criterion; what did not pass is listed below."""
    text = to_markdown(report)
    assert (
        "| polite | 3 | 0.6250 | 1 | 1 | 50.0% | 1 | 0 | 0.7500 | judge\\_parse\\_error 1 |" in text
    )
    assert "- **q2**: Badly.\n  - polite failed 0.25" in text
    assert "q1" not in text


def test_a_skipped_criterion_is_not_unscored():
    """It is counted apart, has no reason to be unscored, and its row passes without it."""
    report = RunReport("run", keep_rows=True)
    row = evaluation(1.0)
    (skipped,) = evaluation(
        None, "sources", "", status="skipped", reason="condition_not_met", cost_usd=0.0
    )["results"]
    row["results"].append(skipped)
    report.add("q1", {"output": "Well."}, row)
    assert "| sources | 1 | – | 0 | 0 | – | 0 | 1 | 0.0000 |  |" in to_markdown(report)
    ((passed,),) = (report.rows("passed"),)
    assert [verdict.outcome for verdict in passed.verdicts] == ["passed", "skipped"]


def test_texts_of_callers_are_only_text(tmp_path: Path):
    """Markup, control characters and halves of characters stand as text in all three forms."""
    report = RunReport(HOSTILE, keep_rows=True)
    case = {"input": HOSTILE, "output": HOSTILE}
    report.add(HOSTILE, case, evaluation(0.0, HOSTILE, HOSTILE))
    report.add_failure(HOSTILE, case, "bad_row", HOSTILE)
    report.statements.append(HOSTILE)
    files = {
        "html": tmp_path / "a.html",
        "junit": tmp_path / "a.xml",
        "markdown": tmp_path / "a.md",
    }
    write_report(report, **files)
    page, xml, markdown = (path.read_text("utf-8") for path in files.values())
    assert "<script>" not in page
    assert page.count("</style>") == 1
    assert not {"\x00", "\x1b"} & set(page + xml + markdown)
    ET.fromstring(xml)  # noqa: S314  # our own text
    assert "<b>" not in markdown
    assert "\n# two" not in markdown


def test_the_page_needs_no_other_host(report):
    """It has no script, no link and no picture to load, and says so to the browser."""
    page = to_html(report, AT)
    assert not any(word in page for word in ("<script", "src=", "href=", "url(", "@import", "://"))
    assert "default-src 'none'" in page


def test_simulated_verdicts_are_marked():
    """Each form says that no model was called."""
    report = RunReport("pytest", keep_rows=True)
    report.add("q1", {}, evaluation(1.0, simulated=True))
    for text in (to_html(report, AT), to_junit(report), to_markdown(report)):
        assert "1 verdicts are simulated" in text


def test_rows_beyond_the_limit_are_counted():
    """A file of millions of rows gives a report of bounded size, which says what it leaves out."""
    report = RunReport("assay evaluate", keep_rows=True)
    for number in range(ROWS_KEPT_MAX + 3):
        report.add(str(number), {"output": "x" * 5_000}, evaluation(0.0))
    assert len(report.rows("failed")) == ROWS_KEPT_MAX
    assert len(report.rows("failed")[0].output) < 2_000
    assert f"{ROWS_KEPT_MAX - 497:,} more are not shown." in to_html(report, AT)
    assert "3 more rows failed" in to_junit(report)
    assert f"and {ROWS_KEPT_MAX - 47:,} more" in to_markdown(report)


def test_a_table_of_text_is_in_columns():
    """Numbers are to the right, words to the left."""
    lines = list(text_table(("name", "count"), [("a", "10"), ("longer", "2")]))
    assert lines == ["name    count", "a          10", "longer      2"]
