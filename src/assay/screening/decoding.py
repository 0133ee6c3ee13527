"""Decodes what a text hides: base64, hex, look-alike letters, hidden characters.

Traces of encodings are searched together with the signs, so an ordinary text costs one pass. The
number and length of what is decoded are bounded.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

RUNS_MAX = 64
"""Encoded runs of a text that are decoded, for each encoding."""
RUN_BYTES_MAX = 8_192
READABLE_SHARE_MIN = 0.9
WINDOW_BYTES = 4_096
"""How much text around a trace is decoded where the encoding has no clear beginning."""
TRACES_MAX = 1_000
WINDOWS_MAX = 16
"""Windows of a text that are decoded."""

TRACES: Mapping[str, str] = {
    "base64": r"[a-z0-9+/_-]{24,}={0,2}",
    "hex": r"(?:\\x|0x)?(?:[0-9a-f]{2}(?:[ :,]|\\x|0x|, 0x)?){12,}",
    "percent": r"[^\s%]*(?:%[0-9a-f]{2}[^\s%]*){2,}",
    "entities": r"(?:&#x?[0-9a-f]{2,6};){6,}",
    "escapes": r"(?:\\u[0-9a-f]{4}){6,}",
    "spaced letters": r"(?:\b\w[ ._*|-]{1,3}){10,}\w\b",
    "hidden tags": r"[\x{e0020}-\x{e007e}]{8,}",
    "look-alikes": r"[\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2064}\x{feff}\x{ad}\x{180e}]|"
    r"[a-z][\p{Cyrillic}\p{Greek}]|[\p{Cyrillic}\p{Greek}][a-z]|[\x{ff21}-\x{ff5a}]{3}|"
    r"[\x{1d400}-\x{1d7ff}]{2}|[\x{24b6}-\x{24e9}]{2}|[a-z][\x{300}-\x{36f}]{2}",
    "rot13": r"\b(?:vafgehpgvbaf?|tenqre|rinyhngbe|fpber|ireqvpg|ehoevp|pevgrevn|whqtr)\b",
    "leet": r"gn0r|1gn[o0]|n5truct|1nstr|struct1|i0n5|1[o0]n[s5]\b|gr[4@]d|5c[o0]r|sc0r|scor3|"
    r"v3rd|verd1|rubr1|3v[a4@]l|ev[4@]l|p3rf|perf3|m[4@]rk[s5]\b",
    "reversed": r"\b(?:snoitcurtsni|redarg|rotaulave|erocs|tcidrev|cirbur|airetirc|egduj)\b",
}
"""The pattern that betrays each encoding."""

_LOOK_ALIKES = (
    str.maketrans("авгезиікмнорстухѕԁһӏԛԝј", "abre3uikmhopctyxsdhlqwj")  # Cyrillic
    | str.maketrans("АВЕЅІЈКМНОРСТУХ", "ABESIJKMHOPCTYX")
    | str.maketrans("αεικνορτυχ", "aeikvoptux")  # Greek
    | str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX")
)
_HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\u180e\u0300-\u036f]")
_LEET = str.maketrans("013457@$", "oieastas")


def decoded(encoding: str, trace: Any, text: bytes) -> Iterator[str]:
    """The UTF-8 text decoded, where the pattern `trace` of `encoding` was found in it."""
    if encoding in _WHOLE:
        yield from map(_WHOLE[encoding], islice(_windows(trace, text), WINDOWS_MAX))
        return
    for run in islice(trace.finditer(text), RUNS_MAX):
        plain = _RUNS[encoding](run.group()[:RUN_BYTES_MAX].decode("utf-8", "ignore"))
        if plain is not None and _readable(plain):
            yield plain


def _windows(trace: Any, text: bytes) -> Iterator[str]:
    """The text around the first traces, without overlap."""
    end = 0
    for found in islice(trace.finditer(text), TRACES_MAX):
        if found.start() < end:
            continue
        start = max(end, found.start() - WINDOW_BYTES // 2)
        end = found.start() + WINDOW_BYTES // 2
        yield text[start:end].decode("utf-8", "ignore")


def folded(text: str) -> str:
    """The text as it looks: without hidden characters and accents, look-alikes as Latin letters."""
    plain = unicodedata.normalize("NFKD", text)
    return _HIDDEN.sub("", plain).translate(_LOOK_ALIKES)


def _base64(run: str) -> str | None:
    padded = run.rstrip("=").translate(str.maketrans("-_", "+/"))
    padded = padded[: len(padded) - (len(padded) % 4 == 1)]
    try:
        return _utf8(base64.b64decode(padded + "=" * (-len(padded) % 4)))
    except (binascii.Error, ValueError):
        return None


def _hex(run: str) -> str | None:
    digits = re.sub(r"(?i)\\x|0x|[ :,]", "", run)
    try:
        return _utf8(bytes.fromhex(digits[: len(digits) // 2 * 2]))
    except ValueError:
        return None


def _utf8(data: bytes) -> str:
    """Strict, except that the last character may be incomplete."""
    return codecs.getincrementaldecoder("utf-8")().decode(data)


def _escapes(run: str) -> str | None:
    return "".join(chr(int(code, 16)) for code in run.lower().split("\\u")[1:])


def _tags(run: str) -> str | None:
    return "".join(chr(ord(character) - 0xE0000) for character in run)


def _spaced(run: str) -> str | None:
    """Letters set apart; a wider gap stands between words."""
    wide = re.sub(r"(?<=\w)[ ._*|-](?=\w(?:[ ._*|-]|$))", "", run)
    return re.sub(r"[ ._*|-]+", " ", wide)


def _rotated(text: str) -> str:
    return codecs.decode(text, "rot13")


def _leet(text: str) -> str:
    return text.translate(_LEET)


def _reversed(text: str) -> str:
    return text[::-1]


def _readable(text: str) -> bool:
    if len(text) < 8:  # noqa: PLR2004 - shorter than any demand
        return False
    return sum(map(str.isprintable, text)) >= READABLE_SHARE_MIN * len(text)


_RUNS: Mapping[str, Callable[[str], str | None]] = {
    "base64": _base64,
    "hex": _hex,
    "percent": urllib.parse.unquote,
    "entities": html.unescape,
    "escapes": _escapes,
    "spaced letters": _spaced,
    "hidden tags": _tags,
}
_WHOLE: Mapping[str, Callable[[str], str]] = {
    "look-alikes": folded,
    "rot13": _rotated,
    "leet": _leet,
    "reversed": _reversed,
}
