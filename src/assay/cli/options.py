"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer

from assay.cli.app import notice, usage_error
from assay.cli.rows import STDIN, Format, Source, require_parquet
from assay.client import Assay, AsyncAssay, RetryPolicy, wire

JSON_START = re.compile(r'\s*(?:\{\s*["}]|\[\s*[\[{"\]])')
"""How an option begins that is meant as JSON, and not as a rubric such as `[Tone] It is polite`."""
SHOWN_CHARS = 60
WORDS_SUFFIXES = (".txt", ".md")
"""Of a file with a rubric; another one holds JSON."""
RETRY_FOR_S = RetryPolicy().retry_for_s
Client = TypeVar("Client", Assay, AsyncAssay)

SourceFile = Annotated[
    str, typer.Argument(metavar="FILE", help="Rows as JSON Lines, CSV or Parquet; - reads stdin.")
]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Format of FILE. Default: by its name, or by its beginning."),
]
CriteriaOption = Annotated[
    list[str],
    typer.Option(
        help="A rubric in words, criteria as JSON, @file.json, or @file.txt with a rubric."
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show errors and the result, but no progress.")
]
ApiKeyFile = Annotated[
    Path | None, typer.Option(help="File with the API key. Default: $ASSAY_API_KEY.")
]
JudgeOption = Annotated[str | None, typer.Option(help="Name of a configured judge.")]
DEFAULT_URL = wire.DEFAULT_URL
Url = Annotated[str, typer.Option(envvar="ASSAY_URL", help="URL of the service.")]


def _number(value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise typer.BadParameter("must be a number")  # NaN lies within every range
    return value


MinScore = Annotated[
    float | None, typer.Option(min=0, max=1, callback=_number, help="Gate: lowest mean score.")
]
MinPassRate = Annotated[
    float | None, typer.Option(min=0, max=1, callback=_number, help="Gate: lowest pass rate.")
]
AllowSimulated = Annotated[
    bool, typer.Option("--allow-simulated", help="Apply the gate to simulated verdicts, too.")
]
RetryFor = Annotated[
    float, typer.Option(min=0, max=3600, help="How long to retry a call, in seconds.")
]
HtmlReport = Annotated[Path | None, typer.Option(help="File for a report as a page of HTML.")]
JUnitReport = Annotated[Path | None, typer.Option(help="File for a report as JUnit XML.")]
MarkdownReport = Annotated[Path | None, typer.Option(help="File for a report as Markdown.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        envvar="ASSAY_CONFIG", help="Configuration file. Default: assay.toml, if it exists."
    ),
]
MetricsPort = Annotated[
    int | None, typer.Option(help="Port of health checks and metrics; 0 picks a free port.")
]


def read_criteria(given: list[str], *, quiet: bool = False) -> list[Any]:
    """The `criteria` field of a request: words unchanged, JSON as its value; says which it took."""
    criteria: list[Any] = []
    for option in given:
        read = _criteria_in(option)
        criteria += read if isinstance(read, list) else [read]
        if not quiet:
            taken = "a rubric in words"
            if not isinstance(read, str):
                count = len(read) if isinstance(read, list) else 1
                taken = f"{count} criteria as JSON" if count > 1 else "a criterion as JSON"
            shown = option if len(option) <= SHOWN_CHARS else f"{option[:SHOWN_CHARS]}…"
            notice(f"assay: --criteria {shown}: {taken}")
    if not criteria or not all(isinstance(item, str | dict) and item for item in criteria):
        usage_error("--criteria: each must be a non-empty text or a non-empty JSON object")
    return criteria


def _criteria_in(option: str) -> Any:
    """The value of JSON, or the words; exits if a file cannot be read or JSON is wrong."""
    try:
        if option.startswith("@"):
            text = Path(option[1:]).read_text("utf-8-sig").strip()
            return text if option.endswith(WORDS_SUFFIXES) else orjson.loads(text)
        return orjson.loads(option) if JSON_START.match(option) else option
    except (OSError, UnicodeDecodeError) as error:
        usage_error(f"--criteria {option}: {getattr(error, 'strerror', 'must be UTF-8')}")
    except orjson.JSONDecodeError as error:
        usage_error(f"--criteria {option}: not valid JSON: {error}")


def read_source(path: str, form: Format | None, out: str | None, *reports: Path | None) -> Source:
    """The input; exits if it cannot be read, or if `out` or one of `reports` cannot be written."""
    source = Source(path, form)
    if not source.is_stdin and not Path(path).exists():
        usage_error(f"{path}: file not found")
    if not source.is_stdin and Path(path).is_dir():
        usage_error(f"{path}: is a directory")
    written = [*filter(None, reports), *([] if out in (None, STDIN) else [Path(str(out))])]
    for file in written:
        if not file.parent.is_dir() or file.is_dir():
            usage_error(f"{file}: is not the name of a file in a folder that exists")
    for file in () if source.is_stdin else written:
        if file.exists() and file.samefile(path):
            usage_error(f"{file} would overwrite the input")
    try:
        if source.named_format == "parquet":
            require_parquet(path)
    except OSError as error:
        usage_error(f"{path}: {error.strerror}")
    return source


def client_for(kind: type[Client], url: str, api_key_file: Path | None, **settings: Any) -> Client:
    """A client of the service at `url`; exits if the URL or the key is malformed.

    Without a file, the client takes the key from `ASSAY_API_KEY`.
    """
    try:
        key = None if api_key_file is None else wire.checked_key(api_key_file.read_text("utf-8"))
        return kind(url, key, **settings)
    except OSError as error:
        usage_error(f"{api_key_file}: {error.strerror}")
    except ValueError as error:
        usage_error(str(error))
