"""Which language the output is written in."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from assay.criteria.base import Check, Finding
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case
from assay.domain.languages import LANGUAGES, TAG_CHARS_MAX, language_of, unknown_language


def _known_language(tag: str) -> str:
    """The code of the tag's language; its script and region say nothing to the model."""
    code = language_of(tag)
    if code is None:
        raise PydanticCustomError("unknown_language", "{fault}", {"fault": unknown_language(tag)})
    return code


LanguageCode = Annotated[str, Field(max_length=TAG_CHARS_MAX), AfterValidator(_known_language)]


@criterion
class Language(Check):
    """The probability, 0 to 1, that the output is written in one of `languages`.

    Codes are those of ISO 639 (`en`, `de`, `zh`); of a tag such as `pt-BR` the language counts.
    `label` is the most likely of 140 languages and `value` its probability. A text of fewer than
    about twenty letters gets a low probability; a text without letters scores 0. Source: Lui and
    Baldwin, "langid.py: An Off-the-shelf Language Identification Tool", 2012; the model ships
    with py3langid.
    """

    family: ClassVar[str] = "format"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "Die Rechnung wurde am Montag verschickt.",
        "criteria": [{"type": "language", "languages": ["de"]}],
    }
    example_result: ClassVar = {"score": 0.98, "passed": True}
    inline_work_max: ClassVar[int] = 0  # the model takes 100 MB

    type: Literal["language"]
    languages: tuple[LanguageCode, ...] = Field(min_length=1, max_length=len(LANGUAGES))

    def load(self) -> None:
        _identifier()

    def check(self, case: Case) -> Finding:
        text = output_text(case)
        if not any(character.isalpha() for character in text):
            return Finding(0.0, explanation="the output has no letters")
        ranked = [(code, float(share)) for code, share in _identifier().rank(text)]
        likeliest, share = ranked[0]
        score = sum(share for code, share in ranked if code in self.languages)
        return Finding(
            min(1.0, score),
            value=share,
            label=likeliest,
            explanation=f"most likely {likeliest} ({share:.0%})",
        )


@cache
def _identifier() -> Any:
    # A second and 100 MB, so only in a process that identifies languages.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
