"""What a sentence may say besides the value, so that it states a verdict and nothing else.

Words are allowed, not forbidden: of all that can stand beside a value, only a small vocabulary
leaves it the judge's verdict on the whole output.
"""

from __future__ import annotations

import re
from typing import Any

from assay.verdicts.forms import AnyScale
from assay.verdicts.scales import LabelScale, NumberScale


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OUTPUT = _words(
    "output response answer summary text essay submission translation completion reply message "
    "assistant model option candidate choice"
)
_PLAIN = _OUTPUT | _words(
    # who judges what, and how surely
    "i I we i'd we'd i'll it it's this that's these the a an my its our would will must have to "
    "can only therefore thus hence so overall finally accordingly consequently conclusion "
    "summary based on criteria criterion rubric analysis evaluation assessment comparison "
    "careful carefully consideration long thought after weighing comparing considering "
    "reviewing both given all taken together things considered as at with of for in is remains "
    "and but final combined definitive official own total solid reasons aspects everything two "
    "think believe conclude that clearly definitely strongly just still barely fully resulting "
    "why "
    # German, French, Spanish, Portuguese, Italian
    "ich meine die antwort mit daher deshalb somit insgesamt ist lautet je lui la de note en donc "
    "est finale "
    "le j'attribue un por lo tanto mi es el conclusión portanto minha é a mia è"
)
_OF_SCORES = _words(
    "score scores rating rate rated grade mark give assign award say settle deserves earns gets "
    "receives merits warrants overall verdict "
    "bewertung gesamtbewertung gesamtnote gesamtpunktzahl note punktzahl vergebe gebe bewerte "
    "évaluation donne attribue puntuación puntaje beoordeling оценка итоговая "
    "calificación valoración nota doy pontuação avaliação punteggio voto valutazione الدرجة التقييم"
)
_OF_LABELS = _words(
    "verdict label result classification category class decision judgement judgment conclusion "
    "choice winner preference assessment answer rating grade score say rate mark "
    "outcome status choose prefer favor favour find call select pick go classify vote "
    "better best superior preferable preferred stronger wins "
    "bewertung urteil ergebnis jugement veredicto verdetto valutazione الحكم النتيجة"
)
_SPEAKING = _words(
    "say settle think believe conclude give assign award choose prefer select pick vote"
)
_JUDGE = _words("i I we i'd we'd i'll")
"""Who must be speaking where one of those words is used."""
_FEEDBACK = _words("feedback evaluation assessment result decision your judge's pass fail or")
"""Other words of a heading over the verdict."""
_AFTER = _words(
    "points point stars star marks pts overall here out of is better best superior preferable "
    "preferred stronger wins s my the two one clear clearly choice winner response output answer "
    "slightly marginally significantly much punkte punkten puntos pontos punti sterne"
)
"""What may stand between a value and the end of its sentence."""
_UNSPACED = re.compile(
    r"(?:最终|综合|总体|因此|所以|综上|我|给出|的|总|是|为|最終|総合|입니다|です|최종|종합|따라서|"
    r"(?P<judging>评分|总分|得分|分数|打分|评级|评价|结论|判定|裁决|答案|評価|スコア|得点|点数|結論|"
    r"점수|평점|평가|판정|결론)|は|는|은)+"
)
"""Whole runs of scripts that put no blanks between words."""


def spaced(text: str) -> re.Pattern[str]:
    """A pattern in which a blank is any run of blanks: emphasis leaves some behind."""
    return re.compile(text.replace(" ", r"\s{1,9}"), re.IGNORECASE)


_REASON = re.compile(
    r"[\s,;–—-]{1,4}(?:because|since|as|given|due to|based on|for the following reasons?|"
    r"(?:explanation|reason|reasoning|threshold)\b)|\s[–—-]\s{1,3}(?=[A-Z])|\sin terms of\b"
)
"""After it anything may follow a verdict."""
_COMPARED = spaced(
    r" (?:than|over|instead of|rather than) (?:(?:the )?(?:other|first|second)|"
    rf"(?:(?:{'|'.join(sorted(_OUTPUT))}) )?\(?\w\)?)(?: (?:one|{'|'.join(sorted(_OUTPUT))}))?"
    r"(?:['’]s(?: \w{1,15})?)?(?=[\s.,!]|\Z)"
)
"""`Output (a) is better than Output (b)`."""
ASIDE = re.compile(r"[(（][^()（）\n]{2,200}[)）]")
_ON_A_SCALE = spaced(r",?(?: )?on a scale (?:of|from) [0-9.]{1,9} (?:to|-) [0-9.]{1,9},?")
_OF_SCALE = _words("or out of to from on a the scale is best worst lowest highest points means")
"""Words of an aside before the value: `Score (1-5):`, `Verdict (pass or fail):`."""
_NARROWS = _words(
    "provisional preliminary tentative initial initially subject draft first half part parts only "
    "style tone according reference example max maximum min previous for by given before if unless "
    "in until at"
)
"""In an aside, it says that the verdict is another's, about less, or not the last."""
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_PUNCTUATION = frozenset(" \t.,:;=()[]{}–—-'’：。，（）#")
_PUNCTUATION_AFTER = frozenset(" \t.,!)]}'’。，！）\r")
"""Any other sign changes what is said: a question mark, an arrow, a digit."""


def _claim(after: str) -> str:
    """What follows a value, without its reason and without what it is compared with."""
    reason = _REASON.search(after)
    return _COMPARED.sub("", after if reason is None else after[: reason.start()])


def _without_asides(text: str, scale: AnyScale, *, after: bool) -> str | None:
    """The text without what is in parentheses; None where that changes what is said."""
    bounds = {f"{scale.low:g}", f"{scale.high:g}"} if isinstance(scale, NumberScale) else set()
    labels = set(scale.words) if isinstance(scale, LabelScale) else set()
    for aside in (*ASIDE.finditer(text), *_ON_A_SCALE.finditer(text)):
        words = set(WORD.findall(aside.group().lower()))
        if not set(re.findall(r"[0-9.]*[0-9]", aside.group())) <= bounds:
            return None
        if words & _NARROWS if after else not words <= _OF_SCALE | labels:
            return None
    return _ON_A_SCALE.sub(" ", ASIDE.sub(" ", text))


def is_heading_of_verdict(words: list[str]) -> bool:
    """Whether a heading of these words may stand over the verdict: `Final score`, `Feedback`."""
    return all(word in _PLAIN | _OF_SCORES | _OF_LABELS | _FEEDBACK for word in words)


def names_verdict(words: list[str]) -> bool:
    """Whether what stands before a colon names the verdict: `Conclusion:`, `Final answer:`."""
    return all(word in _PLAIN | _OF_LABELS for word in words)


def states_verdict(
    said_before: str, said_after: str, value: Any, scale: AnyScale, *, named: bool = False
) -> bool:
    """Whether the words around a value in its clause say that it is the verdict, and no more.

    `named`: no word of judging is needed, as in a form whose marks say what they are.
    """
    before = _without_asides(said_before, scale, after=False)
    after = _without_asides(_claim(said_after), scale, after=True)
    if before is None or after is None or not _is_plain(before, after):
        return False
    words, following = lowered(before), WORD.findall(after.lower())
    if isinstance(scale, LabelScale) and any(word in scale.words for word in words):
        return False  # one of several
    if _SPEAKING & set(words) and not _JUDGE & set(words):
        return False
    judging = _OF_SCORES if isinstance(scale, NumberScale) else _OF_LABELS
    if not all(word in _PLAIN | judging or _UNSPACED.fullmatch(word) for word in words):
        return False
    if not all(word in _AFTER or _UNSPACED.fullmatch(word) for word in following):
        return False
    is_tie = isinstance(scale, LabelScale) and scale.tie is not None and value == scale.tie
    return (
        named
        or is_tie
        or words[-3:] in (["this", "is", "a"], ["it", "is", "a"])
        or any(word in judging for word in words)
        or any(word in judging and word not in _OUTPUT for word in following)
        or any(run["judging"] for run in map(_UNSPACED.fullmatch, words) if run)
    )


def _is_plain(before: str, after: str) -> bool:
    """Whether there are no other signs around a value than those of a plain sentence."""
    return (
        set(WORD.sub("", before)) <= _PUNCTUATION and set(WORD.sub("", after)) <= _PUNCTUATION_AFTER
    )


def lowered(text: str) -> list[str]:
    """The words in lower case, but for a single capital, which is no article."""
    words = WORD.findall(text)
    return [
        word if len(word) == 1 and word.isupper() and at else word.lower()
        for at, word in enumerate(words)
    ]
