"""Records what public instrumentations export: `python record.py FLAVOUR`, with its packages.

Needs opentelemetry-sdk, opentelemetry-exporter-otlp-proto-http, openai, and by flavour
opentelemetry-instrumentation-openai-v2 (otel, otel_old), openinference-instrumentation-openai
(openinference) or opentelemetry-instrumentation-openai (traceloop). The model is a fake one.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FLAVOUR = sys.argv[1]
HERE = Path(__file__).parent
TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Finds an order.",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
    },
}


class Fake(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            (HERE / f"{FLAVOUR}.bin").write_bytes(body)
            self.answer(b"", "application/x-protobuf")
            return
        asked = json.loads(body)
        is_last = asked["messages"][-1]["role"] == "tool" or "tools" not in asked
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "find_order", "arguments": '{"id": "A17"}'},
        }
        message = (
            {"role": "assistant", "content": "It arrives on Friday."}
            if is_last
            else {"role": "assistant", "content": None, "tool_calls": [call]}
        )
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "small-1",
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": "stop" if is_last else "tool_calls",
                }
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        }
        self.answer(json.dumps(answer).encode(), "application/json")

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
if FLAVOUR == "otel":
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"
if FLAVOUR == "otel_old":
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "true"

from openai import OpenAI  # noqa: E402
from opentelemetry import trace  # noqa: E402
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: E402
from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: E402

provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
trace.set_tracer_provider(provider)
if FLAVOUR.startswith("otel"):
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
elif FLAVOUR == "openinference":
    from openinference.instrumentation.openai import OpenAIInstrumentor
else:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument()

client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is A17?"}]
with trace.get_tracer("shop").start_as_current_span("answer"):
    first = client.chat.completions.create(model="small", messages=asked, tools=[TOOL])
    call = first.choices[0].message
    asked += [
        call.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "call_1", "content": '{"status": "sent"}'},
    ]
    client.chat.completions.create(model="small", messages=asked, tools=[TOOL], temperature=0.5)
provider.shutdown()
