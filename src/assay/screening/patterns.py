"""The patterns of the signs, searched in one pass. RE2 takes linear time whatever the text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import re2  # type: ignore[import-untyped]  # the wheel ships no stubs

SET_MEMORY_BYTES_MAX = 32 * 1024 * 1024
"""Memory for the states of the set: no ordinary text needs it, and a hostile one is bounded."""


def _read() -> Mapping[str, Sequence[str]]:
    data = tomllib.loads((files("assay.screening") / "signs.toml").read_text("utf-8"))
    words: Mapping[str, str] = data["words"]
    return {
        sign: [WORD.sub(lambda name: words[name[1]], pattern) for pattern in patterns]
        for sign, patterns in data["signs"].items()
    }


WORD = re.compile("%([A-Z]+)%")
PATTERNS = _read()
"""The patterns of each sign, from signs.toml."""

_BLANK = r"[\s\pP*#=|>]"
MASTER_KEY = re2.compile(
    rf"(?i){_BLANK}{{1,8}}|{_BLANK}*(?:(?:thought process|thinking process|reasoning|solution|"
    r"(?:final )?answer|analysis|explanation|response|result|step (?:1|one)|"
    r"let(?:'|’)?s (?:solve|think|work|break|approach|go|analy[sz]e|reason)[^\n.:]{0,60}|"
    r"(?:(?:sure|certainly|of course|okay|ok)[,!. ]+)?(?:here(?:'|’)?s|here is|below is|this is) "
    r"(?:the|my|a) (?:(?:correct|final|complete|detailed|step[- ]by[- ]step) )*"
    r"(?:answer|solution|response|reasoning|explanation)|"
    r"to (?:solve|answer) this (?:problem|question)[^\n.:]{0,60}|"
    r"解|解答|答案|思考过程|解説|解答例|回答|かいせつ|respuesta|solución|antwort|lösung|réponse|"
    rf"решение|ответ){_BLANK}*){{1,4}}"
)
"""Openers with nothing after them, and punctuation alone: they fool judges into a pass.

Zhao et al., "One Token to Fool LLM-as-a-Judge", 2025.
"""
MASTER_KEY_CHARS_MAX = 400


class PatternSet:
    """Named patterns, all searched in one pass over a text."""

    def __init__(self, patterns: Sequence[tuple[str, str]]) -> None:
        options = re2.Options()
        options.max_mem = SET_MEMORY_BYTES_MAX
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        self._patterns: list[tuple[str, Any]] = []
        for name, pattern in patterns:
            dotted = f"(?is){pattern}"
            self._set.Add(dotted)
            self._patterns.append((name, re2.compile(dotted, options)))
        self._set.Compile()

    def found(self, text: bytes) -> Iterator[tuple[str, Any]]:
        """Each name whose pattern occurs in the UTF-8 text, once, with that pattern."""
        seen: set[str] = set()
        for number in sorted(self._set.Match(text) or ()):
            name, pattern = self._patterns[number]
            if name not in seen:
                seen.add(name)
                yield name, pattern
