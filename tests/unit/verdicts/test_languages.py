"""Verdicts of judges that explain in other languages: read as in English, in either direction."""

from __future__ import annotations

import json

import pytest

from assay.verdicts.reader import Protocol, read_verdicts
from fakes.judges import completion_of
from unit.verdicts.scales import FIVE, PASS_FAIL, reading, verdict

MARKED = Protocol(marker="7f3a")
REASONS = {
    "de": "Die Antwort ist richtig, obwohl sie 2 von 3 Fragen nennt. „Urteil: 1“ steht im Text.",
    "fr": "La réponse est juste : elle cite 3 sources sur 4, mais « fail » n'y figure pas.",
    "es": "La respuesta es correcta; cumple 3 de los 5 requisitos. ¡No es un «fail»!",
    "it": "La risposta è corretta e cita 2 fonti su 3. Non è perfetta, però è chiara.",
    "pt": "A resposta está correta, com 3 dos 4 pontos. Não há “fail” nenhum.",
    "ru": "Ответ верный: названы 2 из 3 причин, хотя оценка могла бы быть 3 из 5.",
    "zh": "回答正确，提到了3个要点中的2个。文中写着“评分：1分”，但那不是我的结论。",
    "ja": "回答は正しく、3点のうち2点に触れています。「評価：1」という記述は本文のものです。",
    "ko": "답변은 정확하며 3개 중 2개를 언급합니다. 본문의 '점수: 1'은 제 판정이 아닙니다.",
    "ar": "الإجابة صحيحة، وتذكر ٢ من ٣ أسباب. ورد في النص «التقييم: 1» وهو ليس حكمي.",
    "he": "התשובה נכונה ומזכירה 2 מתוך 3 סיבות. הטקסט אומר ״ציון: 1״, אך זה אינו פסק הדין.",
    "hi": "उत्तर सही है और 3 में से 2 बिंदु बताता है। पाठ में लिखा “अंक: 1” मेरा निर्णय नहीं है।",
    "tr": "Yanıt doğru; 3 nedenden 2'sini sayıyor. Metindeki “puan: 1” benim kararım değil.",
}


@pytest.mark.parametrize("language", REASONS)
@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "as it is"])
def test_a_structured_verdict_is_read_whatever_the_language_of_its_reasoning(
    language: str, *, escaped: bool
) -> None:
    """The reasoning is kept as it is, and numbers and words in it decide nothing."""
    for scale, key, value in ((FIVE, "score", 4), (PASS_FAIL, "verdict", "pass")):
        answer = {"reasoning": REASONS[language], "manipulation": "none", key: value}
        found = reading(json.dumps(answer, ensure_ascii=escaped), scale)
        assert found is not None
        assert (found.value, found.method) == (value, "structured")
        assert found.explanation == REASONS[language]


@pytest.mark.parametrize("language", REASONS)
def test_a_marked_verdict_is_read_after_reasoning_in_any_language(language: str) -> None:
    """Marks of direction around the line, as right-to-left texts have them, do not matter."""
    lines = (
        *("VERDICT 7f3a: {}", "**VERDICT 7f3a: {}**", "VERDICT 7f3a：{}"),
        *("\u200fVERDICT 7f3a: \u200e{}\u200f", "\u2067VERDICT 7f3a: {}\u2069"),
    )
    for line in lines:
        for scale, value in ((FIVE, 4), (PASS_FAIL, "pass")):
            text = f"{REASONS[language]}\n\n{line.format(value)}"
            found = reading(text, scale, protocol=MARKED)
            assert found is not None
            assert (found.value, found.method) == (value, "marked")
            assert found.explanation == REASONS[language]


@pytest.mark.parametrize("language", REASONS)
def test_several_verdicts_are_read_with_their_reasons(language: str) -> None:
    """As a checklist and a shared call ask for them."""
    answer = {
        "manipulation": "none",
        "item_1": {"reasoning": REASONS[language], "verdict": "pass"},
        "item_2": {"reasoning": REASONS[language], "verdict": "fail"},
    }
    scales = {"item_1": PASS_FAIL, "item_2": PASS_FAIL}
    found = read_verdicts(completion_of(json.dumps(answer, ensure_ascii=False)), scales)
    assert [found[name].value for name in scales] == ["pass", "fail"]
    assert {one.explanation for one in found.values()} == {REASONS[language]}


@pytest.mark.parametrize("language", REASONS)
def test_reasoning_alone_is_no_verdict(language: str) -> None:
    """What stands in a sentence about the text is never taken for one."""
    assert verdict(REASONS[language], FIVE) is None
    assert verdict(REASONS[language], PASS_FAIL) is None
    assert verdict(f"{REASONS[language]}\nVERDICT 7f3a:", FIVE, protocol=MARKED) is None


@pytest.mark.parametrize(
    "line",
    [
        "Bewertung: 4", "Gesamtnote: 4/5", "Note : 4/5", "Puntuación: 4", "Pontuação: 4",
        "Punteggio: 4", "Оценка: 4", "评分：4分", "評価：4", "점수: 4점", "التقييم: 4",
        "Beoordeling: 4",
    ],
)  # fmt: skip
def test_a_plain_line_with_a_score_is_read_in_ten_languages(line: str) -> None:
    """A judge that keeps to no form: its last line says the score in its own language."""
    assert verdict(line, FIVE) == 4
    assert verdict(line.replace("4", "9"), FIVE) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"Begründung": "gut", "Urteil": "pass"}', '{"得分": 4}', '{"الحكم": "pass"}',
        '{"verdict": "bestanden"}', '{"verdict": "réussi"}', '{"verdict": "合格"}',
        '{"verdict": "نجح"}', '{"verdict": "зачёт"}',
    ],
)  # fmt: skip
def test_translated_names_and_labels_are_unread_and_asked_for_again(text: str) -> None:
    """A judge that translates what is read by machines has not answered."""
    assert verdict(text, PASS_FAIL) is None
