"""The plugin's options, each on the command line and in the file of pytest's configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

UnscoredMode = Literal["fail", "skip", "xfail"]
UNSCORED_MODES: tuple[UnscoredMode, ...] = get_args(UnscoredMode)
RECORD_NAME = "verdicts.jsonl"
FLAGS = {
    "local": "Start a private service for this run.",
    "cache": "Take verdicts of earlier runs from pytest's cache.",
    "allow_simulated": "Let simulated verdicts count.",
}
TEXTS = {
    "url": "URL of the service. Default: $ASSAY_URL.",
    "unscored": "What a test is that has unscored criteria: fail (default), skip or xfail.",
    "record": "File, or folder, to write verdicts to, for --assay-replay.",
    "replay": "File, or folder, to take all verdicts from; no service is called.",
    "report": "File for a report as a page of HTML.",
}
NO_SERVICE = """\
There is no service to ask. Name one of these:
  a service that runs:   ASSAY_URL=https://… in the environment, or --assay-url https://…
  a private service:     --assay-local (needs pip install 'assay-judge[server]')
  recorded verdicts:     --assay-replay FILE (written by --assay-record FILE)"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the plugin is to do. Without a `url`, and not `local`, it has no service."""

    url: str | None
    local: bool
    local_options: tuple[str, ...]
    allow_simulated: bool
    unscored: UnscoredMode
    cache: Path | None
    record: Path | None
    replay: Path | None
    report: Path | None


def add_options(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("assay", "evaluation of outputs by Assay")
    for name, text in FLAGS.items():
        flag = f"--assay-{name.replace('_', '-')}"
        group.addoption(flag, action="store_true", default=None, help=text)
        parser.addini(f"assay_{name}", text, type="bool", default=False)
    for name, text in TEXTS.items():
        choices = UNSCORED_MODES if name == "unscored" else None
        group.addoption(f"--assay-{name}", choices=choices, help=text)
        parser.addini(f"assay_{name}", text, default="")
    parser.addini("assay_local_options", "Options of `assay serve`.", type="args", default=[])


def read_options(config: pytest.Config) -> Options:
    """The options given; raises `pytest.UsageError` for one that is wrong."""
    given = {name: config.getoption(f"assay_{name}") for name in (*FLAGS, *TEXTS)}
    saved = {name: config.getini(f"assay_{name}") for name in (*FLAGS, *TEXTS)}
    url, local = _service(given, saved)
    unscored: Any = given["unscored"] or saved["unscored"] or "fail"
    if unscored not in UNSCORED_MODES:
        raise pytest.UsageError(f"assay_unscored must be fail, skip or xfail, not {unscored!r}")
    paths = {name: _path(config, given[name], saved[name]) for name in ("record", "replay")}
    paths = {name: path and _record_file(path) for name, path in paths.items()}
    replay = paths["replay"]
    if replay is not None and replay != paths["record"] and not replay.is_file():
        raise pytest.UsageError(
            f"--assay-replay: there is no {replay}; --assay-record {replay} writes it"
        )
    report = _path(config, given["report"], saved["report"])
    if report is not None and report.is_dir():
        raise pytest.UsageError(f"--assay-report: {report} is a folder; name a file")
    return Options(
        url,
        local,
        tuple(config.getini("assay_local_options")),
        bool(given["allow_simulated"] or saved["allow_simulated"]),
        unscored,
        _cache_file(config) if given["cache"] or saved["cache"] else None,
        report=report,
        **paths,
    )


def _service(given: dict[str, Any], saved: dict[str, Any]) -> tuple[str | None, bool]:
    """The URL, or whether the service is private: the command line counts before all else."""
    if given["url"] or given["local"]:
        return (given["url"], False) if given["url"] else (None, True)
    url = os.environ.get("ASSAY_URL") or saved["url"] or None
    return url, saved["local"] and url is None


def _path(config: pytest.Config, given: str | None, saved: str) -> Path | None:
    """A path from where pytest is called, or, in its configuration, from the root folder."""
    if given:
        return config.invocation_params.dir / given
    return config.rootpath / saved if saved else None


def _record_file(path: Path) -> Path:
    return path if path.suffix else path / RECORD_NAME


def _cache_file(config: pytest.Config) -> Path:
    if config.pluginmanager.get_plugin("cacheprovider") is None:
        raise pytest.UsageError(
            "--assay-cache needs pytest's cache, which -p no:cacheprovider ends"
        )
    return Path(config.cache.mkdir("assay")) / RECORD_NAME
