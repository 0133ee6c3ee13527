"""How pages are written: templates, and the forms that numbers and times have in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from assay.console.sessions import Session

HERE = Path(__file__).parent
FILES = HERE / "files"
PAGES = (
    ("Overview", ""),
    ("Playground", "playground"),
    ("Evaluators", "evaluators"),
    ("Datasets", "datasets"),
    ("Batches", "batches"),
    ("Compare", "compare"),
    ("Label", "labels"),
    ("Calibration", "calibrations"),
    ("Live", "live"),
    ("Models", "models"),
)
"""The pages of the navigation, with their paths."""
OPERATOR_PAGES = (("Audit log", "audit"),)
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every page: no script or style but the console's own files, and no other host."""

TEXT_CHARS_MAX = 50_000
"""A longer text is cut: a browser is slow with a megabyte, and nobody reads it there."""
EXCERPT_CHARS_MAX = 300


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or the part of one that a script asked for."""
    session: Session | None = getattr(request.state, "session", None)
    root = request.scope.get("root_path", "")
    text = templates().get_template(template).render(
        request=request,
        session=session,
        csrf_token=session.csrf_token if session else "",
        base=root,
        pages=PAGES + (OPERATOR_PAGES if _operates(session) else ()),
        file=lambda name: f"{root}/files/{name}?v={_version(name)}",
        here=request.url.path.removeprefix(root).strip("/").partition("/")[0],
        partial="hx-request" in request.headers,
        **values,
    )  # fmt: skip
    return HTMLResponse(text, status, HEADERS)


def _operates(session: Session | None) -> bool:
    return session is not None and session.identity.role == "operator"


def go(request: Request, path: str) -> Response:
    """Leads on to another page of the console, whether a script asked or a form was sent."""
    target = f"{request.scope.get('root_path', '')}/{path}"
    if "hx-request" in request.headers:
        return Response(headers={"hx-redirect": target})
    return RedirectResponse(target, HTTPStatus.SEE_OTHER)


@cache
def templates() -> Environment:
    """The templates; everything in them is escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A browser takes minutes to find the direction of a megabyte.
    environment.globals["text_chars_max"] = TEXT_CHARS_MAX
    environment.filters |= {
        "number": number,
        "percent": percent,
        "usd": usd,
        "ms": milliseconds,
        "when": when,
        "interval": interval,
        "words": words,
        "pretty": pretty,
        "as_text": as_text,
        "excerpt": excerpt,
        "marked": marked,
    }
    return environment


@cache
def _version(name: str) -> str:
    """Changes with the file, which browsers keep for long."""
    return hashlib.sha256((FILES / name).read_bytes()).hexdigest()[:12]


def number(value: float | None, digits: int = 0) -> str:
    """With thin spaces between thousands; a dash for what is not known."""
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def percent(value: float | None, digits: int = 1) -> str:
    """A share of 1."""
    return "–" if value is None else f"{value * 100:.{digits}f}\u202f%"


def usd(value: float | None) -> str:
    """With as many digits as small amounts need."""
    if value is None:
        return "–"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.2g}"


def milliseconds(value: float | None) -> str:
    """In the unit that suits."""
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < 1_000 else f"{value / 1_000:.1f} s"  # noqa: PLR2004


def when(value: str | None) -> str:
    """A time in UTC, to the second."""
    return "–" if value is None else value.replace("T", " ").replace("Z", "")[:19]


def interval(value: Mapping[str, Any] | None, digits: int = 2) -> str:
    """A figure with its interval."""
    if value is None or value.get("value") is None:
        return "–"
    found, between = value["value"], value.get("interval")
    shown = f"{found:.{digits}f}"
    return f"{shown} ({between[0]:.{digits}f} to {between[1]:.{digits}f})" if between else shown


def words(value: str) -> str:
    """The name of a field as a person reads it."""
    return value.replace("_", " ")


def pretty(value: Any) -> str:
    """JSON with indentation."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()


def as_text(value: Any) -> str:
    """A field of a case as a text: passages one after the other, messages with their roles."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return "\n\n".join(value)
    if isinstance(value, list) and value and all(_is_message(one) for one in value):
        return "\n\n".join(f"{one['role']}: {one['content']}" for one in value)
    return pretty(value)


def _is_message(value: Any) -> bool:
    known = isinstance(value, dict) and value.keys() == {"role", "content"}
    return known and isinstance(value["content"], str)


def excerpt(value: Any) -> str:
    """The beginning of a field, for a cell of a table."""
    text = "" if value is None else as_text(value)
    return text if len(text) <= EXCERPT_CHARS_MAX else text[:EXCERPT_CHARS_MAX] + "…"


def marked(text: str, found: Collection[str] = ()) -> Markup:
    """A text in which what was found is marked; the end of a very long one is left out."""
    left_out = len(text) - TEXT_CHARS_MAX
    text = text[:TEXT_CHARS_MAX]
    pattern = "|".join(re.escape(one) for one in sorted(found, key=len, reverse=True) if one)
    pieces = re.split(f"({pattern})", text, flags=re.IGNORECASE) if pattern else [text]
    html = Markup().join(
        Markup("<mark>{}</mark>").format(piece) if place % 2 else escape(piece)
        for place, piece in enumerate(pieces)
    )
    more = Markup("<br><em>… and {} more characters</em>").format(number(left_out))
    return html + more if left_out > 0 else html
