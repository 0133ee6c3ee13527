"""What the results of a run add up to, in OpenAI's terms; it grows one result at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypedDict

from assay.openai_evals.batch_runs import RunResult

ItemStatus = Literal["pass", "fail", "error"]
OWN_SCALE = ("score_model", "python")
"""Types of graders whose score here is the number on their own scale."""
COUNTS: Mapping[ItemStatus, str] = {"pass": "passed", "fail": "failed", "error": "errored"}


class RunSummary(TypedDict):
    """The sums of the results before the row number `next`."""

    next: int
    counts: dict[str, int]
    criteria: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]


EMPTY: RunSummary = {
    "next": 0,
    "counts": {"errored": 0, "failed": 0, "passed": 0},
    "criteria": {},
    "models": {},
}


def item_status(document: Mapping[str, Any]) -> ItemStatus:
    """Whether a row passed all criteria; one that is unscored makes it an error."""
    results = document.get("results") or ()
    if not results or any(result["status"] != "scored" for result in results):
        return "error"
    return "pass" if all(result["passed"] for result in results) else "fail"


def add_result(summary: RunSummary, result: RunResult) -> RunSummary:
    """The sums with one more result."""
    document = result.document
    counted = COUNTS[item_status(document)]
    criteria, models = dict(summary["criteria"]), dict(summary["models"])
    for scored in document.get("results") or ():
        name = scored["name"]
        old = criteria.get(name, {"testing_criteria": name, "passed": 0, "failed": 0})
        if scored["status"] == "scored":
            outcome = "passed" if scored["passed"] else "failed"
            old = {**old, outcome: old[outcome] + 1}
        criteria[name] = old
    for model, usage in calls_of(document):
        models[model] = _added(models.get(model), model, usage)
    counts = {**summary["counts"], counted: summary["counts"][counted] + 1}
    return {"next": result.number + 1, "counts": counts, "criteria": criteria, "models": models}


def calls_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, int]]]:
    """The model and the usage of each call for a row; criteria that share one share its record."""
    judges = [scored.get("judge") or {} for scored in document.get("results") or ()]
    made = document.get("generated") or {}
    seen: list[Any] = []
    for attempt in (one for source in (made, *judges) for one in source.get("attempts", ())):
        if attempt not in seen:
            seen.append(attempt)
            if attempt["outcome"] == "ok" or any(attempt["usage"].values()):
                yield attempt["model"], attempt["usage"]


def tokens(usage: Mapping[str, int]) -> dict[str, int]:
    """Token counts under OpenAI's names."""
    prompt, completion = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "cached_tokens": usage.get("cached_tokens", 0),
    }


def _added(old: Mapping[str, Any] | None, model: str, usage: Mapping[str, int]) -> dict[str, Any]:
    old = old or {"invocation_count": 0}
    sums = {name: old.get(name, 0) + count for name, count in tokens(usage).items()}
    return {"model_name": model, "invocation_count": old["invocation_count"] + 1, **sums}
