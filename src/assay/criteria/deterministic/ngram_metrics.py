"""The n-gram metrics, as functions of two texts that are not blank.

NLTK and sacrebleu are imported on first use: they take up to a second and 60 MB, which a service
that only asks judges should not pay for. The checks that call them run in worker processes.
"""

# ruff: noqa: PLC0415 - imported on first use, for the reason above

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

from rapidfuzz.distance import LCSseq

from assay.criteria.deterministic.normalization import words


def bleu(output: str, reference: str) -> float:
    """Sentence BLEU, 0 to 1, with effective order and exponential smoothing.

    Source: Papineni et al., 2002; Post, "A Call for Clarity in Reporting BLEU Scores", 2018:
    sacrebleu's `sentence_bleu` with its 13a tokens, divided by 100.
    """
    from sacrebleu.metrics.bleu import BLEU

    return _share(BLEU(effective_order=True).sentence_score(output, [reference]).score / 100)


def chrf(output: str, reference: str, word_order: int) -> float:
    """ChrF (`word_order` 0) or chrF++ (2), 0 to 1, by sacrebleu; Popović, 2015 and 2017."""
    from sacrebleu.metrics.chrf import CHRF

    return _share(CHRF(word_order=word_order).sentence_score(output, [reference]).score / 100)


def gleu(output: str, reference: str) -> float:
    """Google BLEU, 0 to 1, over 13a tokens: the lesser of n-gram precision and recall, n 1 to 4.

    Source: Wu et al., "Google's Neural Machine Translation System", 2016; computed by NLTK.
    """
    from nltk.translate.gleu_score import sentence_gleu

    return _share(sentence_gleu([_tokens(reference)], _tokens(output)))


def meteor(output: str, reference: str) -> float:
    """METEOR, 0 to 1, over 13a tokens in lower case, with the exact and Porter-stem stages.

    The synonym stage needs WordNet, which is not part of this service, so synonyms do not match.
    Identical texts score 1 − 0.5 ÷ words³. Source: Banerjee and Lavie,
    2005; computed by NLTK (alpha 0.9, beta 3, gamma 0.5).
    """
    from nltk.translate.meteor_score import single_meteor_score

    scored = single_meteor_score(_tokens(reference), _tokens(output), wordnet=_NoSynonyms())
    return _share(scored)


def rouge(output: str, reference: str, variant: str) -> float:
    """The F1 of ROUGE-N or ROUGE-L, 0 to 1; `variant` is `1` to `5` or `L`.

    Words are runs of letters, their marks and digits of any script, in lower case and unstemmed;
    for ASCII texts these are the words of the reference implementation. Source: Lin, "ROUGE: A
    Package for Automatic Evaluation of Summaries", 2004.
    """
    found, expected = words(output), words(reference)
    if not (found and expected):
        return _without_words(output, reference)
    if variant == "L":
        return _f1(LCSseq.similarity(found, expected), len(found), len(expected))
    found_grams, expected_grams = _ngrams(found, int(variant)), _ngrams(expected, int(variant))
    shared = (found_grams & expected_grams).total()
    return _f1(shared, found_grams.total(), expected_grams.total())


def _ngrams(tokens: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def _f1(shared: int, found: int, expected: int) -> float:
    return 2 * shared / (found + expected) if shared else 0.0


def _without_words(output: str, reference: str) -> float:
    """The score of texts that cannot be compared by words: 1 where they are equal, else 0."""
    return float(output.split() == reference.split())


class _NoSynonyms:
    """A WordNet without entries."""

    def synsets(self, _word: str) -> tuple[()]:
        return ()


@cache
def _tokenizer() -> Any:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()  # type: ignore[no-untyped-call]  # as sacrebleu ships it


def _tokens(text: str) -> list[str]:
    tokens: list[str] = _tokenizer()(text).split()
    return tokens


def _share(score: float) -> float:
    # Rounding in the libraries may exceed 0..1 by a few units in the last place.
    return min(1.0, max(0.0, float(score)))
