"""The page of a report in a real browser, opened from a file."""

import pytest

from assay.reports.report import RunReport
from assay.reports.writers import write_report
from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium, inaccessible

LONG = "A word and a" + "b" * 900 + " اب漢字 " * 40
VERDICTS = ((1.0, True, "scored"), (0.2, False, "scored"), (None, None, "unscored"))


def result(name, score, passed, status):
    return {
        "name": name, "status": status, "score": score, "passed": passed, "threshold": 0.5,
        "reason": None if score is not None else "judge_parse_error", "explanation": LONG[:300],
    }  # fmt: skip


@pytest.fixture
def page_file(tmp_path):
    report = RunReport("assay evaluate rows.jsonl", keep_rows=True)
    report.statements.append("Gate not met: pass rate at most 0.6667 is below 0.9.")
    for number in range(12):
        score, passed, status = VERDICTS[number % 3]
        results = [result(name, score, passed, status) for name in ("polite", "x" * 60)]
        case = {"input": "How do I reset it?", "output": LONG}
        report.add(f"row-{number}", case, {"score": score, "passed": passed, "results": results})
    write_report(report, html=tmp_path / "report.html")
    return tmp_path / "report.html"


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_can_be_read_by_all(page_file, scheme, tmp_path):
    """Light and dark, wide and narrow: axe finds nothing serious, and no page is wider than it."""
    async with chromium(page_file.as_uri(), color_scheme=scheme) as context:
        page = await context.new_page()
        for width in (1280, 390):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.goto(page_file.as_uri())
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            await page.screenshot(path=tmp_path / f"{width}.png", full_page=True)
        assert await inaccessible(page) == []
