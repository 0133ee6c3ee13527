"""An application with a public instrumentation: `python -m fakes.instrumented_app MODEL_URL KEY
CALLS SERVICE_URL…`.

It asks a model, each time in a trace of its own, exports all spans to every service, and prints the
ids of its traces.
"""

from __future__ import annotations

import os
import sys

os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"

from openai import OpenAI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def main(model_url: str, key: str, calls: int, services: list[str]) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    for url in services:
        exporter = OTLPSpanExporter(
            f"{url}/v1/traces",
            headers={"Authorization": f"Bearer {key}"},
            compression=Compression.Gzip,
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    OpenAIInstrumentor().instrument()
    client = OpenAI(base_url=model_url, api_key="none", max_retries=0)
    tracer = trace.get_tracer("shop")
    for number in range(calls):
        with tracer.start_as_current_span("answer") as span:
            asked = [{"role": "user", "content": f"Question {number}?"}]
            client.chat.completions.create(model="small", messages=asked)
            print(f"{span.get_span_context().trace_id:032x}")  # noqa: T201 # the test reads them
    provider.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
