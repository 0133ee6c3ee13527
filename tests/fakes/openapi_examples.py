"""Records the examples of the OpenAPI document from a running service.

`python -m fakes.openapi_examples` writes src/assay/api/examples.json: an exchange of each operation
with a body.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from assay.http.keys_file import new_key
from fakes.service_process import ROOT, running_service

FILE = ROOT / "src/assay/api/examples.json"
JSON, LINES, CSV = "application/json", "application/x-ndjson", "text/csv"
EVENTS = "text/event-stream"
SHOWN_MAX = 2
"""Entries of a list that an example shows."""

POLITE = {"type": "contains", "name": "polite", "value": "please"}
UNSCORED = {"type": "python", "source": "def grade(sample, item): return float('nan')"}
SHORT = {"type": "word_count", "name": "short", "max": 40}
CASE = {
    "input": "I forgot my password. What now?",
    "output": 'Please choose "Forgot password?" and follow the link that we send you.',
}
LABEL = {"criterion": "polite", "annotator": "mira", "passed": True, "random_sample": True}


class Recorder:
    """Calls a service, and keeps what was sent and received by operation."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.examples: dict[str, dict[str, Any]] = {}

    async def call(
        self,
        operation: str,
        method: str,
        path: str,
        sent: Any = None,
        *,
        media_type: str = JSON,
        accept: str = JSON,
        kept: bool = True,
    ) -> Any:
        """The response's document or text."""
        body = sent if media_type != JSON else json.dumps(sent) if sent is not None else None
        headers = {"accept": accept, **({"content-type": media_type} if body is not None else {})}
        async with self._session.request(
            method, f"/v1/{path}", data=body, headers=headers
        ) as answer:
            text = await answer.text()
            if not answer.ok:
                raise RuntimeError(f"{operation}: {text}")
            received = json.loads(text) if answer.content_type == JSON else text
            if kept:
                example = self.examples.setdefault(operation, {"request": {}, "responses": {}})
                if sent is not None:
                    example["request"].setdefault(media_type, sent)
                by_type = example["responses"].setdefault(str(answer.status), {})
                by_type.setdefault(answer.content_type, shortened(received))
        return received


def shortened(received: Any) -> Any:
    """The response with the first entries of its list, or the first lines of its text."""
    if isinstance(received, str):
        return "".join(received.splitlines(keepends=True)[: SHOWN_MAX + 1])
    if isinstance(received, dict):
        return {
            name: value[:SHOWN_MAX] if isinstance(value, list) else value
            for name, value in received.items()
        }
    return received


async def record(session: aiohttp.ClientSession) -> dict[str, dict[str, Any]]:
    """A tour of the API: everything is made, read and judged."""
    recorder = Recorder(session)
    await _judgements(recorder)
    await _records(recorder)
    batch = await _batches(recorder)
    await _trust(recorder, batch)
    await _live_traffic(recorder)
    await _operations(recorder)
    return recorder.examples


async def _judgements(recorder: Recorder) -> None:
    call = recorder.call
    request = {**CASE, "criteria": ["Answers the question.", POLITE]}
    await call("create_evaluation", "POST", "evaluations", request)
    await call("evaluate", "POST", "../evaluate", request)
    compared = {
        "input": CASE["input"],
        "output_a": CASE["output"],
        "output_b": "Ask somebody else.",
        "criteria": "Which answer solves the customer's problem?",
    }
    await call("create_comparison", "POST", "comparisons", compared)
    items = [{"id": "1", **CASE, "outputs": {"new": CASE["output"], "old": compared["output_b"]}}]
    items[0].pop("output")
    ranking = {"items": items, "rubric": compared["criteria"]}
    await call("create_ranking", "POST", "rankings", ranking)


async def _records(recorder: Recorder) -> None:
    call = recorder.call
    expected = [{"case": CASE, "expect": {"polite": {"passed": True}}}]
    version = {"criteria": [POLITE], "examples": expected}
    await call(
        "create_evaluator", "POST", "evaluators",
        {"name": "manners", "description": "How we speak to customers.", **version},
    )  # fmt: skip
    await call("get_evaluator", "GET", "evaluators/manners")
    await call("test_evaluator_version", "POST", "evaluators/manners/versions/1/test")
    second = {**version, "criteria": [POLITE, SHORT]}
    await call("add_evaluator_version", "POST", "evaluators/manners/versions", second)
    await call("get_evaluator_version", "GET", "evaluators/manners/versions/2")
    await call("list_evaluator_versions", "GET", "evaluators/manners/versions")
    await call("compare_evaluator_versions", "GET", "evaluators/manners/diff?from=1&to=2")
    await call("list_evaluators", "GET", "evaluators")

    await call("create_dataset", "POST", "datasets", {"name": "support", "description": "Answers."})
    rows = [
        {
            "id": str(number),
            "split": "test",
            "input": f"Ask for case {number}.",
            "metadata": {"failing": number // 59},
            "output": f"Send it, {'please' if number % 2 == 0 else 'now'}.",
        }
        for number in range(60)
    ]
    items = "datasets/support/items"
    for media_type in (LINES, "application/jsonl", "application/jsonlines"):
        await call("replace_items", "PUT", items, _lines(rows[:2]), media_type=media_type)
    await call("replace_items", "PUT", items, _lines(rows[:1]), media_type=LINES, kept=False)
    for place, media_type in enumerate((LINES, "application/jsonl", "application/jsonlines"), 1):
        row = _lines(rows[place : place + 1])
        await call("append_items", "POST", items, row, media_type=media_type)
    table = "id,split,input,output\r\n{id},{split},{input},Send it now.\r\n"
    await call("append_items", "POST", items, table.format(**rows[5]), media_type=CSV)
    await call("replace_items", "PUT", items, table.format(**rows[5]), media_type=CSV)
    await call("replace_items", "PUT", items, _lines(rows), media_type=LINES, kept=False)
    await call("get_dataset", "GET", "datasets/support")
    await call("list_datasets", "GET", "datasets")
    await call("list_dataset_versions", "GET", "datasets/support/versions?limit=2")
    await call("list_items", "GET", f"{items}?limit=2")
    await call("list_items", "GET", f"{items}?limit=2", accept=LINES)
    await call("list_splits", "GET", "datasets/support/splits")


async def _batches(recorder: Recorder) -> str:
    call = recorder.call
    over = {"evaluator": "manners", "dataset": "support"}
    await call("create_batch", "POST", "batches?dry_run=true", {"name": "Monday", **over})
    gates = [{"criterion": "polite", "min_pass_rate": 0.4}]
    base, batch = [
        await _ended(recorder, {"name": name, **over, "gates": gates})
        for name in ("Monday", "Tuesday")
    ]
    one = f"batches/{batch}"
    await call("get_batch", "GET", one)
    await call("list_batches", "GET", "batches?limit=2")
    await call("stream_batch_events", "GET", f"{one}/events", accept=EVENTS)
    await call("list_batch_results", "GET", f"{one}/results?limit=2")
    for accepted in (LINES, CSV):
        await call("list_batch_results", "GET", f"{one}/results", accept=accepted)
    # The first one who asks does not wait; what was compared once is kept.
    compared = f"{one}/compare?base={base}"
    changed = f"batches/{base}/compare/rows?base={batch}&criterion=polite&kind=regressions"
    for operation, path in (("compare_batches", compared), ("list_changed_rows", changed)):
        await call(operation, "GET", f"{path}&wait_s=0")
        await call(operation, "GET", path)
    made = await call("create_batch", "POST", "batches", {"criteria": [POLITE]}, kept=False)
    one = f"batches/{made['id']}"
    rows = _lines([{"id": "1", **CASE}, {"id": "2", **CASE}])
    await call("upload_batch_items", "PUT", f"{one}/items", rows, media_type=LINES)
    await call("start_batch", "POST", f"{one}/start")
    halted = await call("create_batch", "POST", "batches", {"criteria": [POLITE]}, kept=False)
    await call("cancel_batch", "POST", f"batches/{halted['id']}/cancel")
    failing = {"criteria": [UNSCORED], "dataset": "support", "filter": {"metadata": {"failing": 1}}}
    failed = await _ended(recorder, failing)
    await call("retry_batch", "POST", f"batches/{failed}/retry")
    return batch


async def _ended(recorder: Recorder, request: dict[str, Any]) -> str:
    """The id of a batch that has ended."""
    made = await recorder.call("create_batch", "POST", "batches", request)
    path = f"batches/{made['id']}"
    await recorder.call("get_batch", "GET", f"{path}/events", accept=EVENTS, kept=False)
    return str(made["id"])


async def _trust(recorder: Recorder, batch: str) -> None:
    call = recorder.call
    labels = [
        {
            "item": {"dataset": "support", "id": str(number)},
            **LABEL,
            "passed": number % 2 == 0 and number % 10 != 0,
        }
        for number in range(60)
    ]
    await call("create_labels", "POST", "labels", labels[2])
    await call("create_labels", "POST", "labels", _lines(labels[:2]), media_type=LINES)
    await call("create_labels", "POST", "labels", _lines(labels), media_type=LINES, kept=False)
    await call("list_labels", "GET", "labels?limit=2")
    drawn = await call(
        "create_draw", "POST", "labels/draws", {"batch": batch, "criterion": "polite", "labels": 2}
    )
    await call("get_draw", "GET", f"labels/draws/{drawn['id']}")
    await call("list_draws", "GET", "labels/draws?limit=2")
    wanted = {"batch": batch, "criteria": ["polite"]}
    made = await call("create_calibration", "POST", "calibrations", wanted)
    await call("get_calibration", "GET", f"calibrations/{made['id']}")
    await call("list_calibrations", "GET", "calibrations?limit=2")
    control = {"calibration": made["id"], "criterion": "polite", "every_h": 24}
    await call("put_control", "PUT", "evaluators/manners/control", control)
    await call("get_control", "GET", "evaluators/manners/control")
    await call("create_erasure", "POST", "erasures", {"subject": "customer-17"})


async def _live_traffic(recorder: Recorder) -> None:
    call = recorder.call
    rule = {
        "evaluator": "manners",
        "filter": 'service.name == "shop"',
        "sample_rate": 0.2,
        "limit": {"per_minute": 60, "usd_per_day": 5},
    }
    await call("create_rule", "POST", "rules", {"name": "shop", **rule})
    await call("get_rule", "GET", "rules/shop")
    await call("list_rules", "GET", "rules")
    await call("put_rule", "PUT", "rules/shop", {**rule, "sample_rate": 1})
    await call("export_traces", "POST", "traces", _spans())
    await call("get_traces", "GET", "traces")
    await call("get_rule_scores", "GET", "rules/shop/scores?hours=1")


def _spans() -> dict[str, Any]:
    """A span of a model, as the GenAI conventions describe it."""
    said = {"role": "assistant", "parts": [{"type": "text", "content": CASE["output"]}]}
    asked = {"role": "user", "parts": [{"type": "text", "content": CASE["input"]}]}
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5.4-mini",
        "gen_ai.input.messages": json.dumps([asked]),
        "gen_ai.output.messages": json.dumps([said]),
    }
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "chat gpt-5.4-mini",
        "kind": 3,
        "startTimeUnixNano": "1795000000000000000",
        "endTimeUnixNano": "1795000001000000000",
        "attributes": _attributes(attributes),
    }
    resource = {"attributes": _attributes({"service.name": "shop"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}


def _attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


async def _operations(recorder: Recorder) -> None:
    call = recorder.call
    await call("list_criteria", "GET", "criteria")
    await call("list_models", "GET", "models")
    await call("get_status", "GET", "status")
    await call("get_usage", "GET", "usage")
    model = (await call("list_models", "GET", "models", kept=False))["data"][0]["id"]
    breaker = f"models/{model}/breaker"
    await call("order_breaker", "PUT", breaker, {"state": "forced_open"})
    await call("list_actions", "GET", "audit")


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


async def main(folder: Path) -> None:
    """Write the file, with a service that keeps its own in `folder`."""
    key, line = new_key("acme", "role=operator")
    headers = {"authorization": f"Bearer {key}"}
    (folder / "keys").write_text(line)
    async with (
        running_service(folder, '[auth]\nkeys_file = "keys"') as service,
        aiohttp.ClientSession(service.url, headers=headers) as session,
    ):
        examples = await record(session)
    lines = [
        f"{json.dumps(name)}: {json.dumps(example, ensure_ascii=False)}"
        for name, example in sorted(examples.items())
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
