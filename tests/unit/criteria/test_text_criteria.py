"""The text family: each criterion with its edges — empty, Unicode, huge, no reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from assay.criteria import CRITERIA, parse_criteria
from assay.criteria.base import Check, Finding
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

HUGE = "a" * 1_000_000 + "é"
DECOMPOSED, COMPOSED = "Cafe\u0301", "Café"


def check(output: Any, *, reference: tuple[str, ...] = (), **criterion: Any) -> Finding:
    [parsed] = parse_criteria([criterion])
    assert isinstance(parsed, Check)
    return parsed.check(Case(output, reference=reference))


def score(output: Any, **criterion: Any) -> float:
    return check(output, **criterion).score


def compiled(**fields: Any) -> None:
    [criterion] = parse_criteria([fields])
    assert isinstance(criterion, Check)
    criterion.compile()


def error(**criterion: Any) -> tuple[Any, str]:
    with pytest.raises(ValidationError) as caught:
        parse_criteria([criterion])
    [found] = caught.value.errors()
    return found["loc"], found["type"]


@pytest.mark.parametrize(
    ("kind", "output", "value", "expected"),
    [
        ("equals", "Paris", "Paris", 1),
        ("equals", "Paris ", "Paris", 0),
        ("equals", "paris", "Paris", 0),
        ("equals", "", "", 1),
        ("equals", COMPOSED, DECOMPOSED, 1),
        ("equals", "ﬁ", "fi", 0),
        ("contains", "In Paris.", "Paris", 1),
        ("contains", "In Rome.", "Paris", 0),
        ("contains", "", "Paris", 0),
        ("contains", "anything", "", 1),
        ("contains", f"{DECOMPOSED}s", COMPOSED, 1),
        ("contains", HUGE, "aé", 1),
        ("starts_with", "Dear Ada", "Dear", 1),
        ("starts_with", "Oh dear", "Dear", 0),
        ("ends_with", "the end", "end", 1),
        ("ends_with", "end of it", "end", 0),
        ("ends_with", HUGE, "e\u0301", 1),
    ],
)
def test_comparisons(kind: str, output: str, value: str, expected: float) -> None:
    """Texts compare in form C, with regard to case and white space."""
    assert score(output, type=kind, value=value) == expected


@pytest.mark.parametrize("kind", ["equals", "contains", "starts_with", "ends_with"])
def test_case_is_ignored_where_asked(kind: str) -> None:
    """Case-folded: STRASSE is straße, whichever side it stands on."""
    assert score("STRASSE", type=kind, value="straße", ignore_case=True) == 1
    assert score("STRASSE", type=kind, value="straße") == 0


def test_equals_trims_where_asked() -> None:
    """White space around both texts is ignored with `trim` alone."""
    assert score(" Paris\n", type="equals", value="Paris", trim=True) == 1


@pytest.mark.parametrize(
    "kind",
    ["equals", "contains", "starts_with", "ends_with", "contains_any", "contains_all", "one_of"],
)
def test_the_reference_stands_in_for_the_expected_text(kind: str) -> None:
    """Without an expected text the case's reference is used; without that it is missing."""
    assert score("Paris", type=kind, reference=("Paris",)) == 1
    assert score("Rome", type=kind, reference=("Paris",)) == 0
    with pytest.raises(NotApplicable) as caught:
        check("Paris", type=kind)
    assert caught.value.reason == "reference_missing"


def test_any_of_several_references_will_do() -> None:
    """An output that equals one of the references equals the reference."""
    assert score("Paris", type="equals", reference=("Lutetia", "Paris")) == 1


def test_contains_any_names_what_it_found() -> None:
    """One of the texts is enough, and `value` is it."""
    finding = check("call 112", type="contains_any", values=["110", "112"])
    assert (finding.score, finding.value) == (1.0, "112")
    assert score("call me", type="contains_any", values=["110", "112"]) == 0


def test_contains_all_scores_the_share_found() -> None:
    """Two of three texts are two thirds, and the explanation names the first missing one."""
    finding = check("a b", type="contains_all", values=["a", "b", "c"])
    assert finding.score == pytest.approx(2 / 3)
    assert finding.value == 2
    assert "'c'" in finding.explanation


def test_one_of_gives_the_label() -> None:
    """The output, trimmed, is one of the texts; the label is spelled as given."""
    finding = check(" POSITIVE\n", type="one_of", values=["positive", "negative"], ignore_case=True)
    assert (finding.score, finding.label) == (1.0, "positive")
    assert score("very positive", type="one_of", values=["positive"]) == 0


@pytest.mark.parametrize(
    ("output", "criterion", "expected"),
    [
        ("Order 66", {"pattern": r"\d+"}, 1),
        ("no number", {"pattern": r"\d+"}, 0),
        ("order", {"pattern": "ORDER", "ignore_case": True}, 1),
        ("order 66", {"pattern": r"\d+", "full_match": True}, 0),
        ("Café", {"pattern": r"^Caf\pL$"}, 1),
        ("", {"pattern": "^$"}, 1),
        (HUGE, {"pattern": "(a+)+b"}, 0),
        (HUGE, {"pattern": "a{1000}é$"}, 1),
    ],
)
def test_regex(output: str, criterion: dict[str, Any], expected: float) -> None:
    """RE2 patterns match in linear time, with Unicode classes."""
    assert score(output, type="regex", **criterion) == expected


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{1001}", "\ud800"])
def test_an_invalid_pattern_is_an_error_at_its_field(pattern: str) -> None:
    """What RE2 refuses is refused where it is compiled: at once, or in a worker."""
    with pytest.raises(ValidationError) as caught:
        compiled(type="regex", pattern=pattern)
    [found] = caught.value.errors()
    assert found["loc"][-1] == "pattern"
    assert found["type"] in ("invalid_pattern", "string_unicode")


@pytest.mark.parametrize(
    ("pattern", "late"),
    [
        (r"Order \d+", False),
        (r"^\d{4}-\d{2}-\d{2}$", False),
        ("a" * 501, True),
        ("a{600}", True),
        ("((a{9}){9}){9}", True),
        ("(a?)" * 400 + "a{900}b", True),
        (r"\p{L}", True),
        (r"[^\x{3b1}]", True),
        ("[^ж]", True),
    ],
)
def test_only_a_short_pattern_is_compiled_on_the_event_loop(pattern: str, late: bool) -> None:
    """Short means: with its counted repetitions written out, and without classes of Unicode."""
    [check] = parse_criteria([{"type": "regex", "pattern": pattern}])
    assert check.compiles_late == late
    assert (check.work(100, Case("")) == float("inf")) == late


def test_a_pattern_is_bounded_in_length() -> None:
    """A pattern longer than the bound is refused before it is compiled."""
    assert error(type="regex", pattern="a" * 10_001) == ((0, "pattern"), "string_too_long")


@pytest.mark.parametrize(
    ("output", "criterion", "value", "expected"),
    [
        ("one two  three\nfour", {"type": "word_count", "min": 4, "max": 4}, 4, 1),
        ("", {"type": "word_count", "min": 1}, 0, 0),
        ("", {"type": "word_count", "max": 0}, 0, 1),
        (DECOMPOSED, {"type": "char_count", "max": 4}, 4, 1),
        ("👍🏽", {"type": "char_count", "max": 2}, 2, 1),
        (HUGE, {"type": "char_count", "max": 1_000_000}, 1_000_001, 0),
    ],
)
def test_counts(output: str, criterion: dict[str, Any], value: int, expected: float) -> None:
    """Both bounds are included; characters are code points in form C."""
    finding = check(output, **criterion)
    assert (finding.value, finding.score) == (value, expected)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("هل أنت بخير؟ نعم، شكرا.", 2),
        ("آپ کیسے ہیں؟ میں ٹھیک ہوں۔", 2),
        ("वह आया। वह गया॥", 2),
        ("他来了。他走了！真的？", 3),
        ("彼は来た｡彼は行った｡", 2),
        ("Եկավ։ Գնաց։", 2),
        ("መጣ። ሄደ።", 2),
        ("လာတယ်။ သွားတယ်။", 2),
        ("មក។ ទៅ។", 2),
        ("«Да». Нет!", 2),
        ("He said “Stop.” Then he left.", 2),
        ("It costs 3.50 today. Version 1．5 too.", 2),
        ("Wait... what?!", 2),
    ],
)
def test_sentences_end_as_in_their_script(text: str, sentences: int) -> None:
    """Unicode lists the marks; those of the Latin script also stand within numbers."""
    assert check(text, type="sentence_count", min=1).value == sentences


def test_sentences_are_counted_in_linear_time() -> None:
    """A long run of marks and brackets that ends nothing is read once, not once for each mark."""
    text = "." * 500_000 + ")" * 500_000 + "a"
    assert check(text, type="sentence_count", min=1).value == 1


@pytest.mark.parametrize("bounds", [{}, {"min": 3, "max": 2}])
def test_counts_need_bounds_in_order(bounds: dict[str, int]) -> None:
    """Without a bound, or with crossed ones, the request is at fault."""
    assert error(type="word_count", **bounds)[0] == (0,)


@pytest.mark.parametrize(
    ("output", "criterion", "expected"),
    [
        ("42", {"value": 42}, 1),
        ("The answer is 42.", {"value": 42}, 1),
        ("First 1, then 42", {"value": 42}, 1),
        ("First 1, then 42", {"value": 1}, 0),
        ("First 1, then 42", {"value": 1, "which": "first"}, 1),
        ("First 1, then 42, or 3", {"value": 42, "which": "any"}, 1),
        ("1,024.5 kg", {"value": 1024.5}, 1),
        ("-3", {"value": -3}, 1),
        ("−3 °C", {"value": -3}, 1),
        ("6.02e23", {"value": 6.02e23}, 1),
        ("3.14", {"value": 3.14159}, 0),
        ("3.14", {"value": 3.14159, "abs_tolerance": 0.01}, 1),
        ("102", {"value": 100, "rel_tolerance": 0.02}, 1),
        ("103", {"value": 100, "rel_tolerance": 0.02}, 0),
        ("room B42", {"value": 42}, 0),
        ("", {"value": 42}, 0),
        ("9" * 400, {"value": 42}, 0),
        ("1e999", {"value": 42}, 0),
    ],
)
def test_numeric(output: str, criterion: dict[str, Any], expected: float) -> None:
    """The output's last number is compared within the tolerance, unless told otherwise."""
    assert score(output, type="numeric", **criterion) == expected


def test_numeric_takes_the_number_of_the_reference() -> None:
    """The reference may say it in words around; one without a number is missing."""
    assert score("42 kg", type="numeric", reference=("It is 42.",)) == 1
    with pytest.raises(NotApplicable) as caught:
        check("42", type="numeric", reference=("none",))
    assert caught.value.reason == "reference_missing"


def test_the_output_of_a_conversation_is_its_last_assistant_message() -> None:
    """Text blocks are joined; what users and tools said is not the output."""
    messages = (
        {"role": "assistant", "content": "Rome"},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Paris"}]},
        {"role": "tool", "content": "ignored"},
    )
    assert score(messages, type="equals", value="Paris") == 1
    assert score((), type="equals", value="") == 1


@pytest.mark.parametrize("name", list(CRITERIA))
def test_every_criterion_has_a_working_example(name: str) -> None:
    """The catalogue's example parses as the criterion it is listed for, and checks score it."""
    example = CRITERIA[name].example
    [criterion] = parse_criteria(example["criteria"])
    assert criterion.type == name
    if isinstance(criterion, Check):
        found = criterion.check(example_case(example)).score
        assert found == 1 if criterion.family == "text" else 0 <= found <= 1


def example_case(example: Mapping[str, Any]) -> Case:
    """The case of an example, whose fields are those of a request."""

    def many(field: str) -> tuple[Any, ...]:
        value = example.get(field, ())
        return (value,) if isinstance(value, str) else tuple(value)

    output = example["output"]
    return Case(
        output if isinstance(output, str) else tuple(output),
        reference=many("reference"),
        fields=example.get("fields", {}),
        context=many("context"),
        tools=many("tools"),
        expected_tools=many("expected_tools"),
    )
