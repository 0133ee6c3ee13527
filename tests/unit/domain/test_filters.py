"""Conditions over the attributes of spans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.expressions import ExpressionError
from assay.domain.filters import Filter

SPAN = {
    "service.name": "shop",
    "gen_ai.request.model": "small-1",
    "gen_ai.usage.input_tokens": 900,
    "user.tags": ["beta", "de"],
    "is contains": "odd",
    "stream": True,
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ('service.name == "shop"', True),
        ('service.name != "shop"', False),
        ("gen_ai.usage.input_tokens > 800 and gen_ai.usage.input_tokens <= 900", True),
        ('gen_ai.request.model in ["small-1", "small-2"]', True),
        ('gen_ai.request.model not in ["small-1"]', False),
        ('user.tags contains "beta"', True),
        ('not user.tags contains "beta" or stream == true', True),
        ('"small" in gen_ai.request.model', True),
        ('service.name == "a contains b"', False),
        ('attributes["is contains"] contains "od"', True),
        ("missing == null", True),
        ("missing < 5", False),
        ("service.name < 5", False),
        ("gen_ai.usage.input_tokens == -900", False),
        (r'service.name == "\d"', False),
    ],
)
def test_a_condition_says_whether_a_span_matches(text: str, *, matches: bool) -> None:
    """A missing attribute is null, and values of different kinds are in no order."""
    assert Filter.parse(text).matches(SPAN) is matches


@pytest.mark.parametrize(
    "text",
    [
        "", "a ==", "f(a)", "a.b()", "a if b else c", "[x for x in a]", "lambda: 1", "a @ b",
        "a + 1 == 2", "a ** 9999999", "(a := 1)", "f'{a}'", "a[0]", "a == b'x'", "1 < a < 3",
        "a == 1" + " or a == 1" * 60, "a" * 2_001, "(" * 500 + "a" + ")" * 500, "x is null",
    ],
)  # fmt: skip
def test_anything_else_is_no_condition(text: str) -> None:
    """Nothing is called, computed or repeated, and the length is bounded."""
    with pytest.raises(ExpressionError):
        Filter.parse(text)


@given(st.text(alphabet="ab.()[]=!<>'\" \\@andornotcis0", max_size=60))
def test_no_text_does_anything_but_match_or_fail(text: str) -> None:
    """Whatever is written, it is refused, or gives true or false."""
    try:
        found = Filter.parse(text)
    except ExpressionError:
        return
    assert found.matches(SPAN) in (True, False)
