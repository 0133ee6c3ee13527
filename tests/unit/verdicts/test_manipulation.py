"""What a judge says it saw: read in every form of answer, and never in the way of the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from assay.domain.completion import Completion, Finish
from assay.domain.errors import AnswerTruncated, AnswerUnreadable
from assay.domain.evaluation import MANIPULATIONS
from assay.verdicts.marked import without_manipulation
from assay.verdicts.reader import Protocol, Reading, read_verdict, read_verdicts
from assay.verdicts.scales import LabelScale, NumberScale

SCALE = LabelScale(("pass", "fail"), {})
MARKED = Protocol("7f3a90c2")
SEEN = "VERDICT 7f3a90c2 manipulation: gives_instructions"
SAID = "VERDICT 7f3a90c2: fail"


def read(text: str, scale: Any = SCALE, finish: Finish = "stop") -> Reading[Any]:
    return read_verdict(Completion(text, finish, "p", "m"), scale, MARKED)


@pytest.mark.parametrize(
    "text",
    [
        f"It is wrong.\n\n{SEEN}\n{SAID}",
        f"It is wrong.\n\n{SAID}\n{SEEN}",
        f"It is wrong.\n{SEEN} {SAID}",
        f"It is wrong. {SEEN}\n{SAID}\n",
        f"It is wrong.\n**{SEEN}**\n**{SAID}**",
        f"It is wrong.\n{SEEN.lower()}\n{SAID.lower()}",
        f"No.\nVERDICT 7f3a90c2: manipulation: <gives instructions>.\n{SAID}",
        '{"reasoning": "It is wrong.", "manipulation": "gives_instructions", "verdict": "fail"}',
        '{"verdict": "fail", "Manipulation": "GIVES_INSTRUCTIONS", "reasoning": "It is wrong."}',
        '```json\n{"manipulation": "gives_instructions", "verdict": "fail"}\n```\nIt is wrong.',
        f"[RESULT] fail\n{SEEN}",
        f"The verdict is fail.\n{SEEN}",
    ],
)
def test_it_is_read_beside_the_verdict(text: str) -> None:
    """In a marked line before or after it, or in the object; with any form of the verdict."""
    reading = read(text)
    assert (reading.value, reading.manipulation) == ("fail", "gives_instructions")
    assert "manipulation" not in reading.explanation.replace(text, "")


@pytest.mark.parametrize(
    "said",
    [
        *("none", "None.", "no", "", "yes", "<none, addresses_grader or hides_text>", "7", "null"),
        *("addresses_grader, hides_text", "gives_instructions?", "GIVES", "n/a"),
    ],
)
def test_what_is_not_offered_is_unknown(said: str) -> None:
    """It is no error, and the verdict is read as before."""
    for text in (
        f"VERDICT 7f3a90c2 manipulation: {said}\n{SAID}",
        f"{SAID}\nVERDICT 7f3a90c2 manipulation: {said}",
        f'{{"manipulation": "{said}", "verdict": "fail"}}',
    ):
        reading = read(text)
        assert (reading.value, reading.manipulation) == ("fail", None)


@pytest.mark.parametrize("said", MANIPULATIONS[1:])
def test_every_sign_that_is_offered_is_read(said: str) -> None:
    """In lines and in the object."""
    for text in (
        f"VERDICT 7f3a90c2 manipulation: {said}\n{SAID}",
        f"VERDICT 7f3a90c2 manipulation: {said} {SAID}",
        f'{{"manipulation": "{said}", "verdict": "fail"}}',
    ):
        assert (read(text).value, read(text).manipulation) == ("fail", said)


def test_two_that_differ_are_unknown() -> None:
    """A judge that contradicts itself about it still gives its verdict."""
    for text in (
        f"{SEEN}\nVERDICT 7f3a90c2 manipulation: none\n{SAID}",
        '{"manipulation": "none", "manipulation": "hides_text", "verdict": "fail"}',
    ):
        assert (read(text).value, read(text).manipulation) == ("fail", None)
    assert read(f"{SEEN}\n{SEEN}\n{SAID}").manipulation == "gives_instructions"


@pytest.mark.parametrize(
    "other", ["VERDICT 00000000 manipulation: none", "manipulation: hides_text"]
)
def test_a_line_without_the_marker_says_nothing(other: str) -> None:
    """It may be quoted from the case; neither it nor its place disturbs the verdict."""
    for text in (f"{other}\n{SEEN}\n{SAID}", f"{SEEN}\n{SAID}\n{other}"):
        assert read(text).manipulation == "gives_instructions"
    assert read(f"{other}\n{SAID}").manipulation is None


@pytest.mark.parametrize("said", MANIPULATIONS)
def test_it_is_never_taken_for_a_verdict(said: str) -> None:
    """Even where its very words are on the scale."""
    scale = LabelScale(MANIPULATIONS, {})
    line = f"VERDICT 7f3a90c2 manipulation: {said}"
    assert read(f"{line}\nVERDICT 7f3a90c2: hides_text", scale).value == "hides_text"
    for text in (line, f"manipulation: {said}", f"Hm.\n{line}\n", f'{{"manipulation": "{said}"}}'):
        with pytest.raises(AnswerUnreadable):
            read(text, scale)


def test_it_moves_no_place_in_the_answer() -> None:
    """The verdict's own log-probabilities are found where it stands."""
    text = f"Because.\n{SEEN}\nVERDICT 7f3a90c2: 4"
    reading = read(text, NumberScale(1, 5, integer=True))
    assert text[reading.start : reading.end] == "4"
    blanked, said = without_manipulation(text, "7f3a90c2")
    assert (len(blanked), said) == (len(text), ["gives_instructions"])


def test_a_cut_answer_is_cut_as_before() -> None:
    """What was said of manipulation completes no verdict."""
    with pytest.raises(AnswerTruncated):
        read(f"Because.\n{SEEN}\nVERDICT 7f3a90c2", finish="length")
    assert read(f"{SAID}\n{SEEN[:-5]}", finish="length").value == "fail"


def test_one_stands_for_all_verdicts_of_an_answer() -> None:
    """In lines and in the object of several verdicts."""
    scales = {"c1": SCALE, "item_1": SCALE}
    lines = f"{SEEN}\nVERDICT 7f3a90c2 c1: pass\nVERDICT 7f3a90c2 item_1: fail"
    members = '{"manipulation": "gives_instructions", "c1": {"verdict": "pass"}, "item_1": "fail"}'
    for text in (lines, members):
        readings = read_verdicts(Completion(text, "stop", "p", "m"), scales, MARKED)
        assert [each.value for each in readings.values()] == ["pass", "fail"]
        assert {each.manipulation for each in readings.values()} == {"gives_instructions"}
