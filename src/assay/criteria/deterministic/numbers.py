"""The numbers that a text states: exact, and in the digits of any script.

A run of digits and of the marks that may stand between them is one number or unreadable. It is
never two numbers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

import regex

Readings = tuple[Fraction, ...]
"""What one stated number may mean, the most exact meaning first."""

MINUS: Final = "-\u2212\u2011\u2013"
SPACES: Final = " \u00a0\u2007\u2009\u202f"
MARKS: Final = "'\u2019\u02bc,_\u066c"
"""What may set off thousands, besides spaces; the last is the Arabic one."""
POINTS: Final = ".\u066b"
EXPONENT_DIGITS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺\u2212\u2011\u2013", "0123456789-+---")

UNIT: Final = (
    r"(?:[kmµμ]?g|lbs?|oz|[kcmnµμ]?m|ft|mi|ms|min|hrs?|h|[kKMGT]i?B|[kMG]?Hz|[kMG]Wh?|m?[lL]|kcal|"
    r"kJ|mph|px|pt|EUR|USD|GBP|CHF)"
)
CURRENCY: Final = r"(?<!\p{L})(?:USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|Rs)"
UNSPACED: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}"
"""Scripts whose letters stand directly before a number or its sign."""

NUMBER = regex.compile(
    rf"""
    (?: (?<! [\p{{Latin}}\p{{N}}.] | [\p{{L}}\p{{N}}]_ | \p{{Nd}}[{MARKS}{POINTS}] )
      | (?<= {CURRENCY} [.]? ) )
    (?P<sign> (?<! [[\p{{L}}\p{{M}}]--[{UNSPACED}]] ) [+\{MINUS}] \p{{Sc}}? )?
    (?: (?P<run> (?> (?<! \p{{Latin}} ) [{POINTS}] \p{{Nd}}+
                   | \p{{Nd}}{{1,3}} (?: [{SPACES}] \p{{Nd}}{{3}} (?!\p{{Nd}}) ){{1,30}}
                   | \p{{Nd}}+ )
                 (?: [{MARKS}{POINTS}] \p{{Nd}}+ )*+ )
        (?P<vulgar> [¼-¾⅐-⅞] )?+
        (?: [eE] (?P<exponent> [+\{MINUS}]? \p{{Nd}}{{1,3}} )
          | [ ]? (?: [×✕xX*·⋅] | \\times | \\cdot ) [ ]? 10
            (?: (?: \^ | \*\* ) \{{? (?P<exponent> [+\{MINUS}]? \p{{Nd}}{{1,3}} ) \}}?
              | (?P<exponent> [⁺⁻]? [⁰¹²³⁴-⁹]{{1,3}} ) ) )?+
      | (?P<vulgar> [¼-¾⅐-⅞] ) )
    (?= {UNIT}? (?! _? [\p{{Latin}}\p{{N}}] ) )
    (?! [{MARKS}{POINTS}] \p{{Nd}} )
    """,
    regex.VERBOSE | regex.VERSION1,
)
READABLE = regex.compile(
    rf"""
    (?P<whole> \p{{Nd}}{{1,300}}
             | \p{{Nd}}{{1,3}} (?P<mark> [{MARKS}{SPACES}] ) \p{{Nd}}{{3}}
               (?: (?P=mark) \p{{Nd}}{{3}} )*
             | \p{{Nd}}{{1,2}} (?P<mark> , ) (?: \p{{Nd}}{{2}}, )+ \p{{Nd}}{{3}} )?
    (?: [{POINTS}] (?P<decimals> \p{{Nd}}{{1,300}} ) )?
    """,
    regex.VERBOSE,
)
"""Thousands in groups of three, or as in India in groups of two before the last three."""

WHOLE_DIGITS_MAX = 300
FULL_WIDTH = regex.compile(r"[\uff0b\uff0d]?\uff0e?[\uff10-\uff19][\uff0c\uff0e\uff10-\uff19]*")
SLASHES: Final = frozenset("/\u2044\u2215")


def stated_numbers(text: str) -> list[Readings]:
    """Every number in the text, in order, but those that a double cannot hold.

    Two numbers with a slash between them are one fraction, read as its quotient or as its
    numerator, since 8/10 may be a mark; three are a date, and three numbers.
    """
    normal = FULL_WIDTH.sub(lambda run: unicodedata.normalize("NFKC", run.group()), text)
    stated: list[Readings] = []
    for chain in _slashed(normal, list(NUMBER.finditer(normal))):
        values = [value for value in map(_value, chain) if value is not None]
        if len(chain) == len(values) == 2 and values[1]:  # noqa: PLR2004 - numerator, denominator
            stated.append((values[0] / values[1], values[0]))
        else:
            stated += [(value,) for value in values]
    return stated


def to_json_number(value: Fraction) -> int | float:
    """The nearest double, or the whole number that no double is equal to."""
    nearest = float(value)
    return int(value) if value.denominator == 1 and Fraction(nearest) != value else nearest


def _slashed(
    text: str, matches: Sequence[regex.Match[str]]
) -> Iterator[Sequence[regex.Match[str]]]:
    """The matches in runs that slashes join."""
    chain: list[regex.Match[str]] = []
    for match in matches:
        if chain and not _is_slash(text, chain[-1], match):
            yield chain
            chain = []
        chain.append(match)
    if chain:
        yield chain


def _is_slash(text: str, left: regex.Match[str], right: regex.Match[str]) -> bool:
    between = text[left.end() : right.start()]
    in_latex = between == "}{" and text.endswith("frac{", 0, left.start())
    return between in SLASHES or in_latex


def _value(match: regex.Match[str]) -> Fraction | None:
    """The value of a match of `NUMBER`; None where it is unreadable or too large."""
    if match.group().isdecimal() and len(match.group()) <= WHOLE_DIGITS_MAX:
        return Fraction(int(match.group()))  # as most are, and ten times as fast
    read = READABLE.fullmatch(match["run"] or "")
    if read is None:
        return None
    whole, decimals = _digits(read["whole"]), _digits(read["decimals"])
    if read["mark"] and whole[0] == "0":
        return None  # 0,125 has a decimal comma
    exponent = int((match["exponent"] or "0").translate(EXPONENT_DIGITS))
    value = int(whole + decimals or "0") * Fraction(10) ** (exponent - len(decimals))
    if match["vulgar"]:
        value += Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(10)
    try:
        float(value)
    except OverflowError:
        return None
    is_negative = (match["sign"] or "+")[0] != "+"
    return -value if is_negative else value


def _digits(text: str | None) -> str:
    """The digits of a text in ASCII."""
    return "".join(str(unicodedata.decimal(char)) for char in text or "" if char.isdecimal())
