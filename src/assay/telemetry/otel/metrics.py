"""The metrics of the GenAI conventions, beside Prometheus' own.

Their names changed with the first release of the GenAI conventions. As for every instrumentation,
`OTEL_SEMCONV_STABILITY_OPT_IN` with `gen_ai_latest_experimental` chooses the new ones; without it,
they are those of version 1.41, which dashboards know.
"""

from __future__ import annotations

import os

from opentelemetry.metrics import Meter

from assay.domain.errors import UNSENT_OUTCOMES
from assay.domain.events import AttemptFinished
from assay.telemetry.otel.conventions import (
    OK,
    Attributes,
    Upstream,
    call_attributes,
    first_chunk_s,
)

LATEST = "gen_ai_latest_experimental"
SECONDS = [0.01 * 2**power for power in range(14)]
TOKENS = [4.0**power for power in range(14)]


class CallMetrics:
    """Measures calls of models."""

    def __init__(self, meter: Meter) -> None:
        opted = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").replace(" ", "").split(",")
        self._latest = LATEST in opted
        scope = "inference" if self._latest else "operation"
        self._seconds = meter.create_histogram(
            f"gen_ai.client.{scope}.duration",
            "s",
            "Time of a call of a model.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._first_chunk = meter.create_histogram(
            f"gen_ai.client.{scope}.time_to_first_chunk",
            "s",
            "Time to the first chunk of an answer.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        if not self._latest:
            self._tokens = meter.create_histogram(
                "gen_ai.client.token.usage",
                "{token}",
                "Tokens of a call.",
                explicit_bucket_boundaries_advisory=TOKENS,
            )
            return
        names = ("input_tokens", "output_tokens", "cache_read.input_tokens")
        self._counters = [
            meter.create_counter(f"gen_ai.client.inference.usage.{name}", "{token}", "Tokens used.")
            for name in (*names, "reasoning.output_tokens")
        ]

    def measure(self, event: AttemptFinished, upstream: Upstream) -> None:
        """Measure one call; one that was not sent is none."""
        if event.outcome in UNSENT_OUTCOMES:
            return
        attributes = call_attributes(upstream)
        if event.served_by:
            attributes["gen_ai.response.model"] = event.served_by
        failed: Attributes = {} if event.outcome == OK else {"error.type": event.outcome}
        self._seconds.record(event.seconds, {**attributes, **failed})
        chunk_s = first_chunk_s(event, upstream)
        if chunk_s is not None:
            self._first_chunk.record(chunk_s, attributes)
        usage = event.usage
        if self._latest:
            parts = (usage.cached_tokens, usage.thinking_tokens)
            counts = (usage.input_tokens, usage.output_tokens, *parts)
            attributes["gen_ai.token.modality"] = "text" if any(counts) else "unknown"
            for counter, count in zip(self._counters, counts, strict=True):
                counter.add(count, attributes)
            return
        for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            if count:
                self._tokens.record(count, {**attributes, "gen_ai.token.type": kind})
