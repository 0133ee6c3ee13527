"""The numbers that a text states: any digits, one grouping, and never two of one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.criteria import parse_criteria
from assay.criteria.deterministic.numbers import stated_numbers
from assay.domain.evaluation import Case


def stated(text: str) -> list[float]:
    """The first reading of each number."""
    return [float(readings[0]) for readings in stated_numbers(text)]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("答案是42。", [42]),
        ("定价42元,共3件", [42, 3]),
        ("答えは42です", [42]),
        ("정답은42입니다", [42]),
        ("มีส้ม42ผล", [42]),
        ("42руб", [42]),
        ("ل42 شخصا", [42]),
        ("४२वां", [42]),
        ("٤٢", [42]),
        ("٣٫٥ و ١٬٢٣٤", [3.5, 1234]),
        ("১২৩", [123]),
        ("१,२३,४५६.७५", [123456.75]),
        ("４２。", [42]),
        ("１，２３４．５", [1234.5]),
        ("－５", [-5]),
    ],
)
def test_digits_of_any_script_beside_any_letters(text, numbers):
    """Only Latin letters next to the digits make them a part of a word."""
    assert stated(text) == numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,234,567.5", [1234567.5]),
        ("1'234'567.5", [1234567.5]),
        ("1’234", [1234]),
        ("1 234 567", [1234567]),
        ("1\u00a0234.5", [1234.5]),
        ("1\u202f234", [1234]),
        ("1\u2009234", [1234]),
        ("1_000_000", [1000000]),
        ("12,34,567", [1234567]),
        ("2020 100", [2020, 100]),
        ("12 34", [12, 34]),
        ("1, 2, 3", [1, 2, 3]),
    ],
)
def test_thousands_are_grouped_by_one_mark(text, numbers):
    """In groups of three, or as in India; what is no group is a number of its own."""
    assert stated(text) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "3,5",
        "0,125",
        "1.234,50",
        "1 234,50",
        "1\u202f234,5",
        "1'234,5",
        "3,5 Liter",
        "1,2,3",
        "1,00",
        "1,0000",
        "v1.2.3",
        "192.168.0.1",
    ],
)
def test_an_ambiguous_run_of_digits_is_no_number(text):
    """A decimal comma is not understood, and never makes two numbers of one."""
    assert stated(text) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("x = .8", [0.8]),
        ("-.5", [-0.5]),
        ("−3", [-3]),
        ("–3", [-3]),
        ("+3", [3]),
        ("-$1,234.50", [-1234.5]),
        ("$-5", [-5]),
        ("3-5", [3, 5]),
        ("3–5", [3, 5]),
        ("ב-42", [42]),
        ("温度-3度", [-3]),
        ("1e-3", [0.001]),
        ("1.5 × 10^-3", [0.0015]),
        ("1.5×10⁻³", [0.0015]),
        (r"1.5 \times 10^{3}", [1500]),
        ("2*10**3", [2000]),
        ("3½", [3.5]),
        ("½ cup", [0.5]),
        ("60%", [60]),
        ("€50", [50]),
        ("US$29.00.", [29]),
        ("USD42", [42]),
        ("Rs.500", [500]),
        ("42kg, 5 km/h, 20°C", [42, 5, 20]),
        (r"\boxed{42}", [42]),
        ("_42_ **43**", [42, 43]),
        ("12/25/2024", [12, 25, 2024]),
        ("H2O, B42, 5th, the 1990s, var_42, 5²", []),
        ("9" * 400, []),
        ("1e999", []),
    ],
)
def test_signs_exponents_currencies_and_units(text, numbers):
    """A number counts at face value, and a word with digits is none."""
    assert stated(text) == pytest.approx(numbers)


@pytest.mark.parametrize("text", ["3/4", "3⁄4", r"\frac{3}{4}"])
def test_a_fraction_is_one_number(text):
    """Its quotient, or its numerator where it is a mark out of so many."""
    assert stated_numbers(text) == [(Fraction(3, 4), Fraction(3))]


@given(st.integers(-(10**40), 10**40))
def test_every_digit_of_a_whole_number_counts(number):
    """A whole number equals itself and not the next one, whatever its size."""
    [check] = parse_criteria([{"type": "numeric", "value": number}])
    assert check.check(Case(f"It is {number}.")).score == 1
    assert check.check(Case(f"It is {number + 1}.")).score == 0
    assert check.check(Case(f"It is {number:,}.")).value == pytest.approx(number)


@pytest.mark.parametrize(
    ("output", "criterion", "score"),
    [
        ("1234567891", {"value": 1234567890}, 0),
        ("1234567891", {"value": 1234567890, "rel_tolerance": 1e-9}, 1),
        ("1234567891", {"value": 1234567890.5}, 1),
        ("0.1", {"value": 0.1, "rel_tolerance": 0}, 1),
        ("3/4", {"value": 0.75}, 1),
        ("8/10", {"value": 8}, 1),
        ("8/10", {"value": 10}, 0),
    ],
)
def test_whole_numbers_are_compared_exactly_by_default(output, criterion, score):
    """The tolerance of 1e-9 is for numbers with decimals, or where it is asked for."""
    [check] = parse_criteria([{"type": "numeric", **criterion}])
    assert check.check(Case(output)).score == score


@pytest.mark.parametrize(
    ("reference", "score"),
    [
        ("48/2 = <<48/2=24>>24 in May.\n#### 72", 1),
        ("#### 72\n(see step 3)", 1),
        ("First 24, then 72", 1),
        ("72, not 24", 0),
        ("#### ７２", 1),
    ],
)
def test_the_references_answer_comes_after_its_mark_or_last(reference, score):
    """As in GSM8K; without the mark, the last number is the answer."""
    [check] = parse_criteria([{"type": "numeric"}])
    assert check.check(Case("#### 72", reference=(reference,))).score == score
