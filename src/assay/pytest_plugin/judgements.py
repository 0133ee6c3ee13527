"""Where a test's verdicts come from, and what is known of each.

The processes of xdist only read files. What they ask goes with the reports of their tests to the
one process that writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypedDict

from assay.client import Assay, wire
from assay.errors import ServiceError
from assay.pytest_plugin.options import Options
from assay.pytest_plugin.recordings import Entry, RecordingError, read_entries, stable, to_entry

JUDGED = frozenset({"/v1/evaluations", "/v1/comparisons"})


class JudgedRequest(TypedDict):
    """What a request led to, in types that can be sent between processes."""

    test: str
    origin: Literal["service", "cached", "replayed", "error"]
    entry: Entry
    """Its `response` is a problem if the origin is `error`."""


class Judgements:
    """Answers the requests of tests, from files where they have the answer."""

    def __init__(self, options: Options) -> None:
        """Read the files; raises `RecordingError`."""
        self.test = ""
        self.sample = 0
        self._options = options
        self._replayed = read_entries(options.replay)
        self._cached = read_entries(options.cache)
        self._pending: list[JudgedRequest] = []

    def drain(self) -> list[JudgedRequest]:
        """What was judged since the last call."""
        pending, self._pending = self._pending, []
        return pending

    def judge(
        self, path: str, request: Mapping[str, Any], ask: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """The response to a request; raises `RecordingError` or what `ask` raises."""
        entry = to_entry(path, wire.to_json(request), self.sample)
        for origin, entries in (("replayed", self._replayed), ("cached", self._cached)):
            if (found := entries.get(entry["key"])) is not None:
                return self._note(origin, {**entry, "response": found["response"]})
        if self._options.replay is not None and self._options.record is None:
            raise self._missing(entry["key"])
        try:
            response = ask()
        except ServiceError as error:
            self._note("error", {**entry, "response": error.to_dict()})
            raise
        self._note("service", {**entry, "response": stable(response)})
        if self._options.cache or self._options.record:
            self._cached[entry["key"]] = {**entry, "response": stable(response)}
        return response

    def _note(self, origin: Any, entry: Entry) -> dict[str, Any]:
        self._pending.append({"test": self.test, "origin": origin, "entry": entry})
        response: dict[str, Any] = entry["response"]
        return response

    def _missing(self, key: str) -> RecordingError:
        replay = self._options.replay
        return RecordingError(
            f"{replay} has no verdict for a request of {self.test} (key {key}): the case, the "
            f"criteria or the judge differ from those recorded. With a service, this adds it: "
            f"pytest {self.test.partition('[')[0]} --assay-replay {replay} --assay-record {replay}"
        )


class RecordingAssay(Assay):
    """A client that judges by way of `Judgements`."""

    def __init__(self, url: str | None, api_key: str | None, judgements: Judgements) -> None:
        super().__init__(url, api_key)
        self._judgements = judgements

    def request(
        self, method: str, path: str, json: Mapping[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """As the client does it, but judgements can come from a file."""
        ask = partial(super().request, method, path, json, **options)
        if json is None or path not in JUDGED:
            return ask()
        return self._judgements.judge(path, json, ask)
