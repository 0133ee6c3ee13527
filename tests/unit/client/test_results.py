"""Results read well."""

import pytest

from assay.client.progress import show_progress
from assay.client.results import EvaluationResult
from assay.errors import NotFound, to_error

DOCUMENT = {
    "id": "eval_1",
    "passed": None,
    "score": 0.5,
    "cost_usd": 0.25,
    "new_field": {"of": "a later service"},
    "results": [
        {"name": "tone", "passed": True, "score": 0.5, "explanation": "<b>" + "long " * 100_000},
        {
            "name": "facts",
            "passed": None,
            "score": None,
            "reason": "judge_refused",
            "judge": {"model": "m"},
            "another": 1,
        },
    ],
}


def test_a_result_is_read_by_the_names_of_its_criteria():
    """Fields of a later service do no harm, and are in `raw`."""
    result = EvaluationResult.from_document(DOCUMENT)
    assert (result.passed, result.score, result.cost_usd) == (None, 0.5, 0.25)
    assert result["facts"].model == "m"
    assert [one.name for one in result] == ["tone", "facts"]
    assert "facts" in result
    assert result["facts"] in result
    assert "style" not in result
    assert result.unscored == {"facts": "judge_refused"}
    assert result.raw["new_field"] == {"of": "a later service"}
    with pytest.raises(KeyError, match="the criteria are: tone, facts"):
        result["style"]


def test_a_result_is_short_and_escaped_where_it_is_shown():
    """Neither form repeats megabytes, and a table in a notebook runs no markup of a judge."""
    result = EvaluationResult.from_document(DOCUMENT)
    assert repr(result) == (
        "<evaluation: unscored, 0.5, <tone: passed, 0.5>, <facts: unscored, judge_refused>>"
    )
    page = result._repr_html_()
    assert "&lt;b&gt;long" in page
    assert "<b>" not in page
    assert len(page) < 1_000


def test_a_result_is_neither_true_nor_false():
    """`if result:` would take a failed case for a good one."""
    with pytest.raises(TypeError, match=r"result\.passed"):
        assert EvaluationResult.from_document(DOCUMENT)


def test_a_failed_row_has_its_error():
    """A line of a batch's results with an error is a result with a typed error."""
    error = {"code": "not_found", "detail": "gone <here>"}
    result = EvaluationResult.from_document({"item_id": "7", "error": error})
    assert (result.passed, result.item_id, repr(result)) == (
        *(None, "7"),
        "<evaluation: error, not_found>",
    )
    assert isinstance(result.error, NotFound)
    assert "&lt;here&gt;" in result._repr_html_()
    assert EvaluationResult.from_error(to_error("overloaded", ""), None).criteria == ()


def test_progress_is_one_line(capsys):
    """Each line is written over the one before, and the last one stays."""
    counts = {"total": 4, "pending": 1, "unscored": 2, "failed": 0, "cancelled": 0}
    batch = {"counts": counts, "rows_per_s": 1.5, "cost_usd": 0.5, "status": "completed"}
    show_progress(batch, ended=False)
    show_progress(batch, ended=True)
    shown = capsys.readouterr().err
    assert shown.startswith("\r3 of 4 rows, 2 unscored, 1.5 rows/s ")
    assert shown.count("\n") == 1
    assert "0.5000 USD, completed" in shown
