"""Language and readability against published values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.criteria.deterministic.language import LANGUAGES, Language
from assay.criteria.deterministic.readability import (
    FORMULAS,
    ProseCounts,
    Readability,
    flesch_reading_ease,
)
from assay.domain.evaluation import Case

POINT = "This sentence, taken as a reading passage unto itself, is being used to prove a point."
COLEMAN_LIAU_ABSTRACT = (
    "Existing computer programs that measure readability are based largely upon subroutines "
    "which estimate number of syllables, usually by counting vowels. The shortcoming in "
    "estimating syllables is that it necessitates keypunching the prose into the computer. There "
    "is no need to estimate syllables since word length in letters is a better predictor of "
    "readability than word length in syllables. Therefore, a new readability formula was computed "
    "that has for its predictors letters per 100 words and sentences per 100 words. Both "
    "predictors can be counted by an optical scanning device, and thus the formula makes it "
    "economically feasible for an organization such as the U.S. Office of Education to calibrate "
    "the readability of all textbooks for the public school system."
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The invoice was sent on Monday morning.", "en"),
        ("Die Rechnung wurde am Montag verschickt.", "de"),
        ("La factura se envió el lunes por la mañana.", "es"),
        ("De factuur is maandag verzonden.", "nl"),
        ("今日はとても良い天気ですね。", "ja"),
        ("今天天气很好,我们去公园吧。", "zh"),
        ("Счёт был отправлен в понедельник утром.", "ru"),
    ],
)
def test_a_sentence_is_recognised(text, code):
    """The most likely language is the one that the text is written in."""
    finding = Language(type="language", languages=(code,)).check(Case(text))
    assert finding.label == code
    assert finding.score > 0.5
    others = tuple(sorted(LANGUAGES - {code}))
    rest = Language(type="language", languages=others).check(Case(text)).score
    assert rest < 0.5


@pytest.mark.parametrize("tag", ["pt-BR", "pt_PT", "PT", "pt-Latn-BR"])
def test_of_a_language_tag_the_language_counts(tag):
    """Script and region say nothing to the model."""
    text = "A fatura foi enviada na segunda-feira de manhã."
    assert Language(type="language", languages=(tag,)).check(Case(text)).score > 0.5
    assert Language(type="language", languages=("zh-Hans", "nb-NO")).check(Case(text)).score < 0.1


def test_of_several_languages_any_will_do():
    """The probabilities of the accepted languages add up."""
    text = "Die Rechnung wurde am Montag verschickt."
    assert Language(type="language", languages=("fr", "de")).check(Case(text)).score > 0.9
    assert Language(type="language", languages=("fr", "it")).check(Case(text)).score < 0.1


@pytest.mark.parametrize("text", ["", "12345 !?", "\n"])
def test_a_text_without_letters_has_no_language(text):
    """It scores 0 with no label, rather than a guess."""
    finding = Language(type="language", languages=("en",)).check(Case(text))
    assert (finding.score, finding.label) == (0, None)


def test_an_unknown_code_is_refused_and_the_known_ones_are_the_models():
    """The accepted codes are exactly the model's, without `zxx` (no language)."""
    from py3langid import rank  # noqa: PLC0415 - the model takes a second to load

    assert {code for code, _ in rank("text")} - {"zxx"} == LANGUAGES
    with pytest.raises(ValidationError, match="not a supported language code"):
        Language(type="language", languages=("english"[:3],))


@pytest.mark.parametrize(
    ("text", "ease"),
    [
        # Both are the encyclopedia's examples for the Flesch tests.
        ("The cat sat on the mat.", 116),
        (POINT, 69),
    ],
)
def test_reading_ease_of_published_examples(text, ease):
    """Rounded as published."""
    assert round(flesch_reading_ease(ProseCounts.from_text(text))) == ease


def test_coleman_liau_of_its_own_abstract():
    """The paper's abstract: 5 sentences, 119 words, 639 characters, index 14.5."""
    prose = ProseCounts.from_text(COLEMAN_LIAU_ABSTRACT)
    assert (prose.sentences, prose.words, prose.characters) == (5, 119, 639)
    assert FORMULAS["coleman_liau_index"](prose) == pytest.approx(14.5, abs=0.05)


def test_the_grades_of_a_primer_by_hand():
    """The formulas for 6 words, 1 sentence, 17 characters and 6 syllables."""
    prose = ProseCounts.from_text("The cat sat on the mat.")
    assert FORMULAS["flesch_kincaid_grade"](prose) == pytest.approx(-1.45)
    assert FORMULAS["automated_readability_index"](prose) == pytest.approx(-5.085)


@pytest.mark.parametrize(
    ("bounds", "score"),
    [({"max": 0}, 1), ({"min": 0}, 0), ({"min": -2, "max": -1}, 1), ({"max": -2}, 0)],
)
def test_bounds_decide_on_the_formulas_own_scale(bounds, score):
    """The grade of the primer is −1.45."""
    check = Readability(type="readability", metric="flesch_kincaid_grade", **bounds)
    assert check.check(Case("The cat sat on the mat.")).score == score


def test_crossed_bounds_are_refused():
    """No value could pass."""
    with pytest.raises(ValidationError, match="greater than max"):
        Readability(type="readability", min=2, max=1)


@pytest.mark.parametrize("metric", FORMULAS)
@given(text=st.text(max_size=200))
def test_a_score_is_between_0_and_1(metric, text):
    """For any text, with or without words."""
    finding = Readability(type="readability", metric=metric).check(Case(text))
    assert 0 <= finding.score <= 1
    assert finding.value is not None or finding.score == 0
