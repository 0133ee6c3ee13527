"""A report as one page that needs no other file, no host and no script.

It is made as a tree of elements, whose serializer escapes every text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from xml.etree import ElementTree as ET

from assay.reports.report import HEADINGS, Outcome, ReportedRow, RunReport, counted, criteria_cells
from assay.reports.text import printable, printable_lines
from assay.reports.totals import BINS, CriterionTotals

ROWS_IN_PAGE_MAX = 500
TEXT_COLUMNS = frozenset({"criterion", "why unscored", "verdict", "explanation", "score from"})
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing but its own styles."""
BAR_WIDTH, CHART_HEIGHT, LABEL_HEIGHT = 32, 96, 16
Content = str | ET.Element


def to_html(report: RunReport, made_at: datetime | None = None) -> str:
    """The page; `made_at` is now if it is not given."""
    when = (made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    main = _element("main", _element("h1", report.title), _element("p", when, role="soft"))
    main.extend(_element("p", text, role="statement") for text in report.statements)
    if report.summary.simulated:
        main.append(_element("p", "SIMULATED: " + counted(report), role="statement"))
    main.append(_figures(report))
    main.append(_element("h2", "Criteria"))
    main.append(_table(HEADINGS, criteria_cells(report.summary)))
    main.append(_element("h2", "Distribution of scores"))
    charts = (_chart(name, totals) for name, totals in report.summary.criteria.items())
    main.append(_element("div", *charts, role="charts"))
    for outcome in ("failed", "unscored"):
        main.extend(_rows(report, outcome))
    head = _element("head", _element("title", report.title))
    head.insert(0, ET.Element("meta", charset="utf-8"))
    head.append(
        ET.Element("meta", {"http-equiv": "Content-Security-Policy", "content": PAGE_POLICY})
    )
    head.append(ET.Element("meta", name="viewport", content="width=device-width, initial-scale=1"))
    style = ET.SubElement(head, "style")
    style.text = files("assay.reports").joinpath("report.css").read_text("utf-8")
    page = ET.Element("html", lang="en")
    page.extend((head, _element("body", main)))
    return "<!doctype html>\n" + ET.tostring(page, encoding="unicode", method="html") + "\n"


def _element(tag: str, *content: Content, role: str = "", **attributes: str) -> ET.Element:
    """An element of texts and elements; `role` is its class in the style sheet."""
    element = ET.Element(tag, {**({"class": role} if role else {}), **attributes})
    for part in content:
        if isinstance(part, ET.Element):
            element.append(part)
        else:
            element.text = (element.text or "") + printable_lines(part)
    return element


def _figures(report: RunReport) -> ET.Element:
    summary = report.summary
    mean = summary.rows.mean
    shown = [
        (outcome, f"{report.counts[outcome]:,}") for outcome in ("passed", "failed", "unscored")
    ]
    shown.append(("mean score", "–" if mean is None else f"{mean:.3f}"))
    shown.append(("cost", f"{summary.rows.cost_usd:.4f} USD"))
    return _element(
        "dl",
        *(_element("div", _element("dt", name), _element("dd", value)) for name, value in shown),
        role="figures",
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> ET.Element:
    """A table whose first column heads its rows."""
    kinds = ["" if heading in TEXT_COLUMNS else "number" for heading in headings]
    head = (
        _element("th", text, role=kind, scope="col")
        for text, kind in zip(headings, kinds, strict=True)
    )
    table = _element("table", _element("thead", _element("tr", *head)))
    body = ET.SubElement(table, "tbody")
    for first, *others in rows:
        row = ET.SubElement(body, "tr")
        row.append(_element("th", first, scope="row"))
        row.extend(
            _element("td", text, role=kind) for text, kind in zip(others, kinds[1:], strict=True)
        )
    return _element("div", table, role="table", tabindex="0")


def _chart(name: str, totals: CriterionTotals) -> ET.Element:
    """A histogram, with its numbers as a table behind."""
    scores = f"{totals.scores:,} scores"
    most = max(*totals.bins, 1)
    size = f"0 0 {BAR_WIDTH * BINS} {CHART_HEIGHT + LABEL_HEIGHT}"
    label = f"Scores of {printable(name)}: " + "; ".join(_bins(totals))
    drawing = ET.Element("svg", {"viewBox": size, "role": "img", "aria-label": label})
    for place, count in enumerate(totals.bins):
        height = round(CHART_HEIGHT * count / most, 1)
        box = {"x": place * BAR_WIDTH + 1, "y": CHART_HEIGHT - height, "width": BAR_WIDTH - 2}
        ET.SubElement(drawing, "rect", {k: str(v) for k, v in (*box.items(), ("height", height))})
    for text, x, anchor in (("0", 0, "start"), ("1", BAR_WIDTH * BINS, "end")):
        place_of = {"x": str(x), "y": str(CHART_HEIGHT + LABEL_HEIGHT - 2), "text-anchor": anchor}
        ET.SubElement(drawing, "text", place_of).text = text
    counts = _table(("score from", "rows"), [line.split(": ") for line in _bins(totals)])
    details = _element("details", _element("summary", "Table"), counts)
    caption = _element("figcaption", name, _element("span", scores, role="soft"))
    return _element("figure", caption, drawing, details)


def _bins(totals: CriterionTotals) -> list[str]:
    return [
        f"{place / BINS:.1f}–{(place + 1) / BINS:.1f}: {n:,}" for place, n in enumerate(totals.bins)
    ]


def _rows(report: RunReport, outcome: Outcome) -> list[ET.Element]:
    """The rows of an outcome, as far as they are shown."""
    rows = report.rows(outcome)[:ROWS_IN_PAGE_MAX]
    if not rows:
        return []
    shown = [_element("h2", f"{outcome.capitalize()} ({report.counts[outcome]:,})")]
    shown += map(_row, rows)
    if more := report.left_out(outcome, ROWS_IN_PAGE_MAX):
        shown.append(_element("p", f"{more:,} more are not shown."))
    return shown


def _row(row: ReportedRow) -> ET.Element:
    article = _element("article", _element("h3", row.name), role=row.outcome)
    if row.error:
        article.append(_element("p", row.error))
    texts = ET.Element("dl")
    for name, text in (("input", row.input), ("output", row.output)):
        if text:
            texts.extend((_element("dt", name), _element("dd", text, dir="auto")))
    if len(texts):
        article.append(texts)
    if row.verdicts:
        cells = [(one.name, str(one), one.explanation) for one in row.verdicts]
        article.append(_table(("criterion", "verdict", "explanation"), cells))
    return article
