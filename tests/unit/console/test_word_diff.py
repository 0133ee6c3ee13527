"""What differs between two texts, word by word."""

from hypothesis import given
from hypothesis import strategies as st

from assay.console.word_diff import CHARS_MAX, WORDS_MAX, Span, word_diff


def test_only_the_words_that_changed_are_marked():
    """Each side shows its own text; what is alike is the same on both."""
    before, after = word_diff("It is due within 14 days.", "It is due in 14 days!")
    assert [span.text for span in before if span.kind != "same"] == ["within", "."]
    assert [span.text for span in after if span.kind != "same"] == ["in", "!"]
    assert {span.kind for span in after} == {"same", "added"}


def test_scripts_without_spaces_are_compared_by_character():
    """A sentence is not one word."""
    before, after = word_diff("私は猫が好き", "私は犬が好き")
    assert (before[1], after[1]) == (Span("removed", "猫"), Span("added", "犬"))


def test_long_texts_are_not_compared():
    """Neither by words nor by characters, whose time would grow without a bound."""
    assert word_diff("a " * (WORDS_MAX // 2), "b") is None
    assert word_diff("a" * CHARS_MAX, "b") is None
    assert word_diff("a " * (WORDS_MAX // 4), "b") is not None


@given(st.text(max_size=50), st.text(max_size=50))
def test_nothing_of_either_text_is_lost(before, after):
    """The spans of a side are its text."""
    old, new = word_diff(before, after)
    assert ("".join(s.text for s in old), "".join(s.text for s in new)) == (before, after)
