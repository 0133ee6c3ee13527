"""What may run on the event loop is bounded: every check and every expression at its worst."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
import regex
from pydantic import ValidationError

import assay
from assay.criteria import CRITERIA, parse_criteria
from assay.criteria.base import Check
from assay.domain.case_text import case_size, size_of
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

CHECK_S_MAX = 0.1
"""What is stated beside the checks is a few milliseconds, and a busy machine is slower."""
EXPRESSION_CHARS = 100_000
EXPRESSION_S_MAX = 2.0
"""Linear ones take 20 ms; a quadratic one takes 10 s or more."""

PIECES = (
    "a", "a ", "é", "ΐ", "a\u0301\u0327", ".", "…", '."', ". a", "a-", "1 ", "1/", "1.7e-999 ", "9",
    "[", "[],", "{}", '{"a":', "<a>", "<a b='c'>", "&", "```", "\n", " ", "字", "あ。", "(", "\\",
)  # fmt: skip
"""What outputs are made of, again and again."""


def best_s(work: Callable[[], object]) -> float:
    """The time that the work takes, undisturbed: the best of several."""
    seconds = []
    for _ in range(3):
        started_s = time.perf_counter()
        with suppress(NotApplicable):
            work()
        seconds.append(time.perf_counter() - started_s)
    return min(seconds)


def variants(name: str) -> Iterator[Mapping[str, Any]]:
    """The criterion with the parameters that ask the most of it."""
    yield {}
    for more in (
        {"ignore_case": True},
        {"which": "any"},
        {"values": ["b"] * 200},
        {"evaluation_metric": "fuzzy_match"},
        {"operation": "ilike", "reference": "{{item.reference}}" * 20},
        {"pattern": "(a?)" * 100},
        {"pattern": "(.*)*b"},
        {"schema": {"items": {"enum": [[0]] * 100}}},
        {"min": 1},
    ):
        if more.keys() <= CRITERIA[name].model_fields.keys() | {"schema"}:
            yield more


def inline_checks() -> Iterator[Check]:
    """Every check that may run on the event loop, with its parameters."""
    for name, cls in CRITERIA.items():
        if issubclass(cls, Check) and cls.inline_work_max:
            example = cls.example["criteria"][0]
            for more in variants(name):
                with suppress(ValidationError):
                    [check] = parse_criteria([{**example, **more}])
                    assert isinstance(check, Check)
                    yield check


def largest_inline(check: Check, make: Callable[[int], Case]) -> Case | None:
    """The largest case of its kind, doubling, that the check accepts on the event loop."""
    largest = None
    for exponent in range(20):
        case = make(2**exponent)
        size = case_size(case) + size_of(vars(check))
        if check.work(size, case) > check.inline_work_max:
            return largest
        largest = case
    raise AssertionError("the work of the check has no bound")


def shapes(check: Check) -> Iterator[Callable[[int], Case]]:
    """Ways to make a case as large as one likes."""
    example = type(check).example
    given = {
        name: value if isinstance(value := example.get(name, ()), str) else tuple(value)
        for name in ("reference", "context", "tools", "expected_tools")
    }
    if isinstance(given["reference"], str):
        given["reference"] = (given["reference"],)
    for piece in PIECES:
        yield lambda n, piece=piece: Case(piece * n, **given)
        yield lambda n, piece=piece: Case(piece * n, **{**given, "reference": (piece * n,)})
        yield lambda n, piece=piece: Case(piece * n, **{**given, "reference": (piece,) * n})
        yield lambda n, piece=piece: Case(piece * n, **{**given, "context": (piece,) * n})
    if isinstance(example["output"], list):
        calls, expected = example["output"], given["expected_tools"]
        yield lambda n: Case(tuple(calls) * n, **given)
        yield lambda n: Case(tuple(calls) * n, **{**given, "expected_tools": tuple(expected) * n})


@pytest.mark.parametrize("check", list(inline_checks()), ids=lambda check: check.type)
def test_no_check_holds_the_event_loop_for_long(check: Check) -> None:
    """At the largest size that it accepts there, of every kind of text, it takes milliseconds."""
    for make in shapes(check):
        case = largest_inline(check, make)
        if case is not None:
            took_s = best_s(lambda case=case: check.check(case))
            assert took_s < CHECK_S_MAX, (case.output[:20], case_size(case))


def expressions() -> Iterator[Any]:
    """Every expression of ours that searches a text, with its name.

    One that only matches from a given place tries no other. Those that read verdicts search within
    a bounded window, and have tests of their own.
    """
    for module in pkgutil.walk_packages(assay.__path__, "assay."):
        if module.name == "assay.__main__" or module.name.startswith("assay.verdicts."):
            continue
        loaded = importlib.import_module(module.name)
        source = inspect.getsource(loaded)
        for name, value in vars(loaded).items():
            searches = re.search(rf"\b{name}\.(search|finditer|findall|sub|subn|split)\(", source)
            if isinstance(value, re.Pattern | regex.Pattern) and searches:
                yield pytest.param(value, id=f"{module.name.removeprefix('assay.')}.{name}")


def hostile_texts(pattern: str) -> Iterator[str]:
    """Texts of the pattern's own characters, one or two at a time, with an end that spoils."""
    own = sorted({char for char in pattern if char.isprintable()} | set('a1 ."\n'))
    for piece in (*own, *map("".join, itertools.permutations(own[:5], 2))):
        yield piece * (EXPRESSION_CHARS // len(piece)) + "\x01"


@pytest.mark.parametrize("expression", list(expressions()))
def test_our_own_expressions_take_linear_time(expression: Any) -> None:
    """No repetition of ours overlaps with another: a long hostile text takes milliseconds."""
    is_bytes = isinstance(expression.pattern, bytes)
    pattern = expression.pattern.decode() if is_bytes else expression.pattern
    for text in hostile_texts(pattern):
        subject = text.encode() if is_bytes else text
        started_s = time.perf_counter()
        for _ in expression.finditer(subject):
            if time.perf_counter() - started_s > EXPRESSION_S_MAX:
                break
        assert time.perf_counter() - started_s < EXPRESSION_S_MAX, text[:4]
