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
    "assistant model option candidate choice one"
)
_PLAIN = _OUTPUT | _words(
    # who judges what, and how surely
    "i I we i'd we'd i'll it it's this that's these the a an my its our would will must have to "
    "can only therefore thus hence so overall finally accordingly consequently conclusion summary "
    "based on above criteria criterion rubric analysis evaluation assessment comparison careful "
    "carefully consideration after weighing comparing considering reviewing both given all taken "
    "together things considered as at with of for in is remains and but final combined "
    "definitive official own first second think believe conclude that clearly definitely "
    "strongly just still barely fully resulting why "
    # German, French, Spanish, Portuguese, Italian
    "ich meine die daher deshalb somit insgesamt ist lautet je lui la de note en donc est finale "
    "le un por lo tanto mi es el conclusión portanto minha é a mia è"
)
_OF_SCORES = _words(
    "score scores rating rate rated grade mark give assign award say deserves earns gets receives "
    "merits warrants overall verdict "
    "bewertung gesamtnote note punktzahl vergebe gebe évaluation donne puntuación puntaje "
    "calificación nota doy pontuação avaliação punteggio voto valutazione الدرجة التقييم"
)
_OF_LABELS = _words(
    "verdict label classification category class decision judgement judgment conclusion choice "
    "winner preference assessment answer rating grade score say rate mark "
    "choose prefer select pick go classify vote "
    "better best superior preferable preferred stronger wins "
    "bewertung urteil ergebnis jugement veredicto verdetto valutazione الحكم النتيجة"
)
_SPEAKING = _words("say think believe conclude give assign award choose prefer select pick vote")
_JUDGE = _words("i I we i'd we'd i'll")
"""Who must be speaking where one of those words is used."""
_FEEDBACK = _words("feedback evaluation assessment result decision your judge's pass fail or")
"""Other words of a heading over the verdict."""
_AFTER = _words(
    "points point stars star marks pts overall here out of is better best superior preferable "
    "preferred stronger wins s my the one clear clearly choice winner response output answer "
    "punkte punkten puntos pontos punti sterne"
)
"""What may stand between a value and the end of its sentence."""
_UNSPACED = re.compile(
    r"(?:最终|综合|总体|因此|所以|综上|我|给出|的|总|是|为|最終|総合|입니다|です|최종|종합|따라서|"
    r"(?P<judging>评分|得分|分数|打分|评级|评价|结论|判定|裁决|答案|評価|スコア|得点|点数|結論|"
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
    r" (?:than|over|instead of|rather than) (?:the )?(?:\w{1,15} )?\(?[\w-]{1,15}\)?"
    r"(?:['’]s(?: \w{1,15})?)?(?=[\s.,!]|\Z)"
)
"""`Output (a) is better than Output (b)`."""
ASIDE = re.compile(r"[(（][^()（）\n]{2,200}[)）]")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_PUNCTUATION = frozenset(" \t.,:;=!()[]{}–—-'’：。，！（）#")
"""Any other sign changes what is said: a question mark, an arrow, a digit."""


def _claim(after: str) -> str:
    """What follows a value, without its reason and without what it is compared with."""
    reason = _REASON.search(after)
    return _COMPARED.sub("", after if reason is None else after[: reason.start()])


def _without_asides(text: str, scale: AnyScale) -> str | None:
    """The text without what is in parentheses; None where that names another scale or label."""
    bounds = {f"{scale.low:g}", f"{scale.high:g}"} if isinstance(scale, NumberScale) else set()
    for aside in ASIDE.finditer(text):
        if not set(re.findall(r"[0-9.]*[0-9]", aside.group())) <= bounds:
            return None
    return ASIDE.sub(" ", text)


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
    judging = _OF_SCORES if isinstance(scale, NumberScale) else _OF_LABELS
    before = _without_asides(said_before, scale)
    after = _without_asides(_claim(said_after), scale)
    if before is None or after is None:
        return False
    if not set(WORD.sub("", before + after)) <= _PUNCTUATION or "!" in before:
        return False
    words, following = lowered(before), WORD.findall(after.lower())
    if _SPEAKING & set(words) and not _JUDGE & set(words):
        return False
    is_tie = isinstance(scale, LabelScale) and scale.tie is not None and value == scale.tie
    judged = named or is_tie
    for word in words:
        unspaced = _UNSPACED.fullmatch(word)
        if not (word in _PLAIN or word in judging or unspaced):
            return False
        judged = judged or word in judging or (unspaced is not None and bool(unspaced["judging"]))
    for word in following:
        if not (word in _AFTER or _UNSPACED.fullmatch(word)):
            return False
        judged = judged or (word in judging and word not in _OUTPUT)
    return judged


def lowered(text: str) -> list[str]:
    """The words in lower case, but for a single capital, which is no article."""
    words = WORD.findall(text)
    return [
        word if len(word) == 1 and word.isupper() and at else word.lower()
        for at, word in enumerate(words)
    ]
