"""Similarity metrics against values from their papers and reference implementations."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.criteria.deterministic.similarity import Chrf, Levenshtein, TokenF1
from assay.criteria.deterministic.text_similarity import METRICS, TextSimilarity
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

MAT = "the cat sat on the mat"
GUIDE = "It is a guide to action that ensures that the military will forever heed Party commands"
GUIDE_1 = (
    "It is a guide to action which ensures that the military always obeys the commands of the party"
)
GUIDE_2 = "It is to insure the troops forever hearing the activity guidebook that party direct"
GUNMAN = "police killed the gunman"


def graded(metric: str, output: str, *references: str) -> float:
    check = TextSimilarity(type="text_similarity", evaluation_metric=metric)
    return check.check(Case(output, reference=references)).score


@pytest.mark.parametrize(
    ("metric", "output", "reference", "score"),
    [
        # rapidfuzz's own README: 96.55.
        ("fuzzy_match", "this is a test", "this is a test!", 28 / 29),
        # Papineni et al., 2002, by hand: precisions 5/5, 3/4, 2/3, 1/2, brevity e^(1 − 6/5).
        ("bleu", "the cat is on mat", "the cat is on the mat", math.exp(-0.2) * 0.25**0.25),
        # The worked examples in NLTK's documentation of sentence_gleu.
        ("gleu", "the the the the the the the", "the cat is on the mat", 2 / 22),
        ("gleu", GUIDE_1, GUIDE, 0.4393939),
        ("gleu", GUIDE_2, GUIDE, 0.1206896),
        # The three examples of the encyclopedia's article on METEOR.
        ("meteor", "on the mat sat the cat", MAT, 0.5),
        ("meteor", MAT, MAT, 0.9977),
        ("meteor", "the cat was sat on the mat", MAT, 0.9654),
        # Lin, 2004, section 3.1: 3/4 and 2/4; both share one bigram of three.
        ("rouge_l", "police kill the gunman", GUNMAN, 0.75),
        ("rouge_l", "the gunman kill police", GUNMAN, 0.5),
        ("rouge_2", "police kill the gunman", GUNMAN, 1 / 3),
        ("rouge_2", "the gunman kill police", GUNMAN, 1 / 3),
        # The reference implementation's own tests: precision 1, recall 1/3.
        ("rouge_1", "testing", "testing one two", 0.5),
        ("rouge_3", "a b c d", "a b c e", 0.5),
        ("rouge_4", "a b c d e", "a b c d f", 0.5),
        ("rouge_5", "a b c d e f", "a b c d e g", 0.5),
        # The reference implementation, rouge-score 0.1.2.
        ("rouge_1", GUIDE_1, GUIDE, 0.7058824),
        ("rouge_2", GUIDE_1, GUIDE, 0.5),
        ("rouge_3", GUIDE_1, GUIDE, 0.4),
        ("rouge_4", GUIDE_1, GUIDE, 0.2857143),
        ("rouge_5", GUIDE_1, GUIDE, 0.1538462),
        ("rouge_l", GUIDE_1, GUIDE, 0.6470588),
    ],
)
def test_a_metric_gives_its_published_value(metric, output, reference, score):
    """Each metric of the grader equals what its source says."""
    assert graded(metric, output, reference) == pytest.approx(score, abs=5e-5)


@pytest.mark.parametrize(
    ("output", "reference", "edits"),
    [("sitting", "kitten", 3), ("Sunday", "Saturday", 3), ("abc", "", 3), ("", "", 0)],
)
def test_levenshtein_counts_edits(output, reference, edits):
    """The textbook's pairs; `value` is the number of edits."""
    finding = Levenshtein(type="levenshtein", value=reference).check(Case(output))
    assert finding.value == edits
    longer = max(len(output), len(reference))
    assert finding.score == pytest.approx(1 - edits / longer if longer else 1.0)


@pytest.mark.parametrize(
    ("output", "reference", "f1"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0),
        ("in the year 1889", "1889", 0.5),
        ("Paris", "London", 0.0),
        ("the", "", 1.0),
        ("", "Paris", 0.0),
    ],
)
def test_token_f1_counts_words_as_squad_does(output, reference, f1):
    """Case, punctuation and articles are ignored; empty equals only empty (script 2.0)."""
    finding = TokenF1(type="token_f1", value=reference).check(Case(output))
    assert finding.score == pytest.approx(f1)


def chrf_by_definition(output: str, reference: str) -> float:
    """Popović, 2015: precision and recall averaged over n = 1 to 6, then F with β = 2."""
    precisions, recalls = [], []
    said, wanted = output.replace(" ", ""), reference.replace(" ", "")
    for n in range(1, 7):
        ours = [said[at : at + n] for at in range(len(said) - n + 1)]
        theirs = [wanted[at : at + n] for at in range(len(wanted) - n + 1)]
        shared = sum(min(ours.count(gram), theirs.count(gram)) for gram in set(ours))
        precisions.append(shared / len(ours))
        recalls.append(shared / len(theirs))
    precision, recall = sum(precisions) / 6, sum(recalls) / 6
    return 5 * precision * recall / (4 * precision + recall)


@pytest.mark.parametrize(
    ("output", "reference"), [(MAT, "the cat sits on a mat"), (GUIDE_1, GUIDE)]
)
def test_chrf_is_the_papers_formula(output, reference):
    """The score equals the definition, computed by hand; `value` is 0 to 100."""
    finding = Chrf(type="chrf").check(Case(output, reference=(reference,)))
    assert finding.score == pytest.approx(chrf_by_definition(output, reference))
    assert finding.value == pytest.approx(100 * finding.score)


def test_chrf_plus_plus_also_counts_words():
    """With word n-grams, changes inside many words weigh more."""
    case = Case("the cats sat on the mats", reference=(MAT,))
    plain = Chrf(type="chrf").check(case)
    assert Chrf(type="chrf", word_order=2).check(case).score < plain.score


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SAID = TEXTS.filter(str.strip)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=40, deadline=None)
@given(output=TEXTS, reference=TEXTS)
def test_a_score_is_between_0_and_1(metric, output, reference):
    """No metric leaves the range, whatever the texts."""
    assert 0 <= graded(metric, output, reference) <= 1


@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"meteor", "bleu", "gleu"}))
@settings(max_examples=40, deadline=None)
@given(output=TEXTS, reference=TEXTS)
def test_a_metric_without_direction_is_symmetric(metric, output, reference):
    """F-scores and the ratio are the same with the two texts exchanged."""
    assert graded(metric, output, reference) == pytest.approx(graded(metric, reference, output))


@pytest.mark.parametrize("metric", ["fuzzy_match", "gleu", "bleu", "meteor", "rouge_1"])
@settings(max_examples=40, deadline=None)
@given(words=st.lists(st.sampled_from(["cat", "sat", "dog", "ran"]), min_size=1, max_size=8))
def test_nothing_is_nearer_to_a_text_than_itself(metric, words):
    """An identical text has the best score: 1, or less METEOR's penalty of 0.5 ÷ words³."""
    text = " ".join(words)
    best = 1 - 0.5 / len(words) ** 3 if metric == "meteor" else 1
    assert graded(metric, text, text) == pytest.approx(best)
    assert graded(metric, text + " zebra", text) < 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("output", "reference", "score"), [("", "", 1), ("a", " ", 0), ("", "a", 0)]
)
def test_empty_equals_only_empty(metric, output, reference, score):
    """Two blank texts score 1, a blank text against another one 0."""
    assert graded(metric, output, reference) == score


@settings(max_examples=60, deadline=None)
@given(output=TEXTS, reference=TEXTS)
def test_levenshtein_is_symmetric_and_normalised(output, reference):
    """Both directions take the same number of edits; identical texts take none."""
    one = Levenshtein(type="levenshtein", value=reference).check(Case(output))
    other = Levenshtein(type="levenshtein", value=output).check(Case(reference))
    assert one.score == other.score
    assert 0 <= one.score <= 1
    assert Levenshtein(type="levenshtein", value=output).check(Case(output)).score == 1


@pytest.mark.parametrize("metric", ["fuzzy_match", "rouge_1", "bleu"])
def test_composed_and_decomposed_letters_are_the_same(metric):
    """Texts are compared in normalization form C."""
    text = "Crème brûlée à la française"
    assert graded(metric, unicodedata.normalize("NFD", text), text) == pytest.approx(1)


def test_rouge_reads_words_of_any_script():
    """The reference implementation reads only ASCII, and would score 0 for equal Greek texts."""
    assert graded("rouge_1", "καλημέρα κόσμε", "καλημέρα κόσμε") == 1


OTHER_MARKS = {
    "Hindi": ("हिन्दी में लिखा", "हन्द में लखा"),
    "Thai": ("สวัสดี ครับ", "สวสด ครบ"),
    "Hebrew": ("שָׁלוֹם עֲלֵיכֶם", "שֶׁלֶם עֲלֵיכֶם"),
    "Arabic": ("كَتَبَ الوَلَدُ", "كُتُبُ الوَلَدُ"),
    "Tamil": ("தமிழ் மொழி", "தமழ மழ"),
}
"""Texts, and the same with other combining marks, which makes them other words."""


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("script", OTHER_MARKS)
def test_a_word_has_its_combining_marks(metric, script):
    """Vowel signs tell words apart in every metric, and equal texts stay equal."""
    text, other = (" ".join([text] * 5) for text in OTHER_MARKS[script])
    assert graded(metric, other, text) < graded(metric, text, text)
    assert graded(metric, text, text) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("one", "other"), [("👍", "👎"), ("!!!", "???"), ("—", "…"), ("👍", "a")])
def test_texts_without_words_are_equal_or_not(metric, one, other):
    """A text without letters and digits is nearest to itself, and not like any other."""
    assert graded(metric, one, one) > 0.4
    assert graded(metric, one, other) < 0.4


@pytest.mark.parametrize("references", [("no", MAT), (MAT, "no")])
@pytest.mark.parametrize(
    "check",
    [
        TextSimilarity(type="text_similarity", evaluation_metric="rouge_l"),
        Levenshtein(type="levenshtein"),
        TokenF1(type="token_f1"),
        Chrf(type="chrf"),
    ],
)
def test_of_several_references_the_best_counts(check, references):
    """The order of the references does not matter."""
    assert check.check(Case(MAT, reference=references)).score == 1


@pytest.mark.parametrize(
    "check",
    [
        TextSimilarity(type="text_similarity", evaluation_metric="bleu"),
        Levenshtein(type="levenshtein"),
        TokenF1(type="token_f1"),
        Chrf(type="chrf"),
    ],
)
def test_without_a_reference_nothing_is_scored(check):
    """A missing reference is a reason, not a zero."""
    with pytest.raises(NotApplicable) as caught:
        check.check(Case("an answer"))
    assert caught.value.reason == "reference_missing"


def test_the_graders_templates_are_filled_from_the_case():
    """Fixed words around a placeholder are part of the text."""
    check = TextSimilarity(
        type="text_similarity",
        evaluation_metric="fuzzy_match",
        input="Answer: {{sample.output_text}}",
        reference="Answer: {{item.reference}}",
    )
    assert check.check(Case("Paris", reference=("Paris",))).score == 1
    fixed = TextSimilarity(
        type="text_similarity", evaluation_metric="fuzzy_match", reference="Paris"
    )
    assert fixed.check(Case("Paris")).score == 1


def test_pass_threshold_is_the_threshold():
    """OpenAI's field decides what passes; two different thresholds are a fault."""
    fields = {"type": "text_similarity", "evaluation_metric": "bleu", "pass_threshold": 0.7}
    assert TextSimilarity.model_validate(fields).threshold == 0.7
    with pytest.raises(ValidationError, match="give one"):
        TextSimilarity.model_validate({**fields, "threshold": 0.5})


def test_ignore_case_folds_case():
    """Case folding, not lower case: ß is ss."""
    check = Levenshtein(type="levenshtein", value="STRASSE", ignore_case=True)
    assert check.check(Case("straße")).score == 1
