"""Results of batches as the API gives them, made from a few values."""

from __future__ import annotations

from typing import Any

from assay.batches.run_results import RunResults


def result(
    item_id: str, *, group: str | None = None, revision: str = "r1", **criteria: Any
) -> dict[str, Any]:
    """A result: each criterion is a score, None for unscored, or fields of its own."""
    return {
        "item_id": item_id,
        "item_index": 0,
        "object": "evaluation",
        "group": group,
        "evaluator": {"revision": revision, "name": None, "version": None},
        "simulated": False,
        "results": [criterion(name, value) for name, value in criteria.items()],
    }


def criterion(name: str, value: Any) -> dict[str, Any]:
    given = value if isinstance(value, dict) else {"score": value}
    score = given.get("score")
    judge = {"provider": "p", "model": "m", "requested": "default", "prompt_version": "rubric.v3"}
    return {
        "name": name,
        "type": "rubric",
        "status": "unscored" if score is None else "scored",
        "passed": None if score is None else score >= 0.5,
        "threshold": 0.5,
        "weight": 1.0,
        "reason": "quota_exhausted" if score is None else None,
        "judge": {**judge, "score_method": "single", **given.get("judge", {})},
        **{key: value for key, value in given.items() if key != "judge"},
    }


def run_of(*results: dict[str, Any], run_id: str = "run", **about: Any) -> RunResults:
    run = RunResults(run_id, **about)
    for one in results:
        run.add(one["item_id"], one)
    return run
