"""Languages by their codes, as callers write them."""

from __future__ import annotations

import re

from assay.domain.suggestions import did_you_mean

_CODES = """
ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext
fa fi fo fr fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja
jv ka kab kik kk km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no
nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl sn so sq sr st sv sw ta te tg th tk
tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
"""
LANGUAGES = frozenset(_CODES.split())
"""The languages of py3langid's model, by ISO 639-1 code, or 639-3 where that has none."""
SAME_LANGUAGE = {"nb": "no", "fil": "tl", "cmn": "zh", "iw": "he", "in": "id"}
"""Other codes for languages of the model."""
TAG_CHARS_MAX = 35
"""As long as RFC 5646 asks implementations to accept."""
_TAG = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,6}")
_MEANT = {
    "arabic": "ar", "ara": "ar", "chinese": "zh", "zho": "zh", "chi": "zh", "cn": "zh",
    "mandarin": "zh", "czech": "cs", "cz": "cs", "danish": "da", "dk": "da", "dutch": "nl",
    "nederlands": "nl", "english": "en", "eng": "en", "finnish": "fi", "french": "fr", "fra": "fr",
    "francais": "fr", "german": "de", "deu": "de", "ger": "de", "deutsch": "de", "greek": "el",
    "gr": "el", "hebrew": "he", "hindi": "hi", "italian": "it", "ita": "it", "italiano": "it",
    "japanese": "ja", "jpn": "ja", "jp": "ja", "korean": "ko", "kor": "ko", "kr": "ko",
    "norwegian": "no", "persian": "fa", "farsi": "fa", "polish": "pl", "pol": "pl",
    "portuguese": "pt", "por": "pt", "russian": "ru", "rus": "ru", "spanish": "es", "spa": "es",
    "espanol": "es", "castellano": "es", "swedish": "sv", "thai": "th", "turkish": "tr",
    "tur": "tr", "ukrainian": "uk", "ua": "uk", "vietnamese": "vi", "vn": "vi",
}  # fmt: skip
"""Names, countries and longer codes that people write in place of a code."""


def language_of(tag: str) -> str | None:
    """The code of a tag's language, whatever its script and region; None for no known one."""
    if not _TAG.fullmatch(tag) or len(tag) > TAG_CHARS_MAX:
        return None
    code = re.split("[-_]", tag.lower(), maxsplit=1)[0]
    code = SAME_LANGUAGE.get(code, code)
    return code if code in LANGUAGES else None


def unknown_language(tag: str) -> str:
    """What is wrong with a tag that has no known language, and which was probably meant."""
    meant = _MEANT.get(tag.lower())
    hint = f"; did you mean {meant!r}?" if meant else did_you_mean(tag.lower(), LANGUAGES)
    hint = hint or "; examples are en, de and zh"
    return f"{tag[:TAG_CHARS_MAX]} is not a supported language code{hint}"
