"""Judgements by the hash of their requests, in files of JSON Lines.

The cache and the record of `--assay-record` are such files. They hold what was sent and what came
back, but no header, and so no API key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from assay.errors import AssayError

CACHED_MAX = 10_000
KEY_CHARS = 24
FREE_FIELDS = frozenset({"metadata", "timeout_ms", "store"})
"""Fields of a request on which no verdict depends."""
VARYING_FIELDS = frozenset({"id", "created_at", "latency_ms"})
"""Fields of a response that differ each time, and would differ in every diff of a record."""

Entry = dict[str, Any]
"""`key`, `path`, `sample`, `request` and `response`."""


class RecordingError(AssayError):
    """A record cannot be read, or does not have what a test asks for."""


def to_entry(path: str, request: bytes, sample: int) -> Entry:
    """The entry of a request, which has no response yet.

    Samples of one test are judged each by itself, even if their outputs are the same.
    """
    body = {k: v for k, v in orjson.loads(request).items() if k not in FREE_FIELDS}
    entry = {"path": path, "sample": sample, "request": body}
    digest = hashlib.sha256(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return {"key": digest[:KEY_CHARS], **entry}


def stable(value: Any) -> Any:
    """A response without the fields that differ each time."""
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if k not in VARYING_FIELDS}
    return [stable(one) for one in value] if isinstance(value, list) else value


def is_lasting(entry: Entry) -> bool:
    """Whether a later run may take it from the cache.

    An unscored criterion may have a score the next time, and the name of an evaluator may mean
    another version.
    """
    evaluator = entry["request"].get("evaluator")
    pinned = evaluator is None or "@" in str(evaluator)
    results = entry["response"].get("results", ())
    return pinned and all(result.get("status") == "scored" for result in results)


def read_entries(file: Path | None) -> dict[str, Entry]:
    """The entries of a file, by their keys: none if it is not there."""
    if file is None or not file.exists():
        return {}
    entries = {}
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            entry = orjson.loads(line)
            entries[entry["key"]] = {**entry, "response": dict(entry["response"])}
        except (ValueError, TypeError, KeyError) as error:
            raise RecordingError(f"{file}, line {number}, is no recorded verdict") from error
    return entries


def write_entries(file: Path, entries: Iterable[Entry]) -> None:
    """Replace the file; its lines are sorted by their keys."""
    lines = [
        orjson.dumps(entry, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        for entry in sorted(entries, key=lambda entry: str(entry["key"]))
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(b"".join(lines))
    new.replace(file)


def cached(used: Mapping[str, Entry], before: Mapping[str, Entry]) -> list[Entry]:
    """What the cache keeps: what this run used, then what others did."""
    lasting = {key: entry for key, entry in used.items() if is_lasting(entry)}
    others = [entry for key, entry in before.items() if key not in lasting]
    return [*lasting.values(), *others][:CACHED_MAX]
