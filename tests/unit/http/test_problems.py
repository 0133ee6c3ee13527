"""The table of problems, each in a golden file."""

import json
from pathlib import Path
from typing import get_args

import pytest

from assay.domain.completion import Attempt
from assay.domain.errors import (
    DeadlineExceeded,
    DomainError,
    FieldError,
    NoCandidate,
    Overloaded,
    ProviderDown,
    QuotaExhausted,
    RateLimited,
    RequestError,
    StoreUnavailable,
)
from assay.domain.problem_codes import ProblemCode
from assay.http.problems import (
    ATTEMPTS_MAX,
    ERRORS_MAX,
    INTERNAL,
    PROBLEM_TYPES,
    Problem,
    ProblemError,
    problem_of,
    render,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "problems"


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_each_problem_reads_as_its_golden_file(code):
    """Status, headers and body of every code, as callers depend on them.

    A change that is meant: write the new text into the file by hand.
    """
    fault = FieldError("/criteria/0/type", "unknown criterion")
    problem = Problem(code, "What happened.", (fault,), retry_after_s=2.1)
    headers, body = render(problem, "req_1")
    seen = {"headers": dict(headers[:-1]), "body": json.loads(body)}
    assert headers[-1] == ("content-length", str(len(body)))
    assert seen == json.loads((GOLDEN / f"{code}.json").read_text())


def test_every_code_has_its_status():
    """The table covers the type, so that no code can be without a status."""
    assert set(PROBLEM_TYPES) == set(get_args(ProblemCode))


def test_there_is_a_golden_file_for_nothing_else():
    """A code that goes takes its file along."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(PROBLEM_TYPES)


@pytest.mark.parametrize(
    ("error", "code", "retry_after_s"),
    [
        (RequestError("unknown_model", "no"), "unknown_model", None),
        (StoreUnavailable("gone"), "store_unavailable", 1),
        (QuotaExhausted("spent", retry_after_s=7.2), "quota_exhausted", 8),
        (Overloaded("full", retry_after_s=0.01), "overloaded", 1),
        (DeadlineExceeded("late"), "deadline_exceeded", None),
        (NoCandidate([RateLimited("slow down", retry_after_s=3)]), "providers_unavailable", 3),
        (ProblemError(Problem("body_too_large", "no")), "body_too_large", None),
        (DomainError("secret"), "internal", None),
        (ZeroDivisionError("secret"), "internal", None),
    ],
)
def test_every_error_becomes_a_problem(error, code, retry_after_s):
    """The message of an unexpected error is not shown."""
    problem = problem_of(error)
    headers, body = render(problem, "req_1")
    assert json.loads(body)["code"] == code
    assert json.loads(body).get("retry_after_s") == retry_after_s
    assert dict(headers).get("retry-after") == (retry_after_s and str(retry_after_s))
    assert b"secret" not in body


def test_a_problem_lists_a_bounded_number_of_faults():
    """However many faults there are, the answer stays short."""
    faults = tuple(FieldError(f"/{index}", "wrong") for index in range(1_000))
    _, body = render(Problem("invalid_request", errors=faults), "req_1")
    assert len(json.loads(body)["errors"]) == ERRORS_MAX


def test_a_problem_lists_the_calls_that_failed():
    """Up to a bounded number of them, each with its outcome and its message."""
    tls = Attempt("acme", "acme/a", "tls_failed", 1.0, message="acme: TLS: expired")
    problem = problem_of(NoCandidate([ProviderDown("x", attempts=[tls] * 100)]))
    _, body = render(problem, "req_1")
    attempts = json.loads(body)["attempts"]
    assert len(attempts) == ATTEMPTS_MAX
    assert (attempts[0]["outcome"], attempts[0]["message"]) == ("tls_failed", tls.message)


def test_an_internal_error_tells_nothing_of_the_inside():
    """Only the code and the request id, by which the log is found."""
    _, body = render(INTERNAL, "req_1")
    assert set(json.loads(body)) == {"type", "title", "status", "code", "request_id"}
