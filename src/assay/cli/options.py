"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from assay.cli.app import usage_error
from assay.cli.rows import STDIN
from assay.client import RetryPolicy, wire

JSON_START = re.compile(r'\s*(?:\{\s*["}]|\[\s*[\[{"\]])')
"""How an option begins that is meant as JSON, and not as a rubric such as `[Tone] It is polite`."""
RETRY_FOR_S = RetryPolicy().retry_for_s

Source = Annotated[
    str, typer.Argument(metavar="FILE.jsonl", help="Rows as JSON Lines; - reads stdin.")
]
CriteriaOption = Annotated[
    list[str],
    typer.Option(help="A rubric as text, criteria as JSON, or @file.json with criteria."),
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


def read_criteria(given: list[str]) -> list[Any]:
    """The `criteria` field of a request: each text unchanged, each JSON and @file as its value."""
    criteria: list[Any] = []
    for option in given:
        if not option.startswith("@") and not JSON_START.match(option):
            criteria.append(option)
            continue
        try:
            text = Path(option[1:]).read_bytes() if option.startswith("@") else option
            read = orjson.loads(text)
        except OSError as error:
            usage_error(f"--criteria {option}: {error.strerror}")
        except orjson.JSONDecodeError as error:
            usage_error(f"--criteria {option}: not valid JSON: {error}")
        criteria.extend(read if isinstance(read, list) else [read])
    if not criteria or not all(isinstance(item, str | dict) and item for item in criteria):
        usage_error("--criteria: each must be a non-empty text or a non-empty JSON object")
    return criteria


def check_files(source: str, out: str | None, *reports: Path | None) -> None:
    """Exit if the input does not exist, if the output would overwrite it, or reports cannot be."""
    if source != STDIN and not Path(source).exists():
        usage_error(f"{source}: file not found")
    if source != STDIN and Path(source).is_dir():
        usage_error(f"{source}: is a directory")
    for report in filter(None, reports):
        if not report.parent.is_dir() or report.is_dir():
            usage_error(f"{report}: a report needs the name of a file in a folder that exists")
    if source == STDIN:
        return
    paths = [*filter(None, reports), *([] if out in (None, STDIN) else [Path(str(out))])]
    for path in paths:
        if path.exists() and path.samefile(source):
            usage_error(f"{path} would overwrite the input")


def key_from(api_key_file: Path | None) -> str:
    """The key in the file or in $ASSAY_API_KEY, or an empty text; exits if it is malformed."""
    try:
        if api_key_file is not None:
            return wire.checked_key(api_key_file.read_text("utf-8"))
        secret = os.environ.get("ASSAY_API_KEY", "").strip()
        return wire.checked_key(secret) if secret else ""
    except OSError as error:
        usage_error(f"{api_key_file}: {error.strerror}")
    except ValueError as error:
        usage_error(str(error))
