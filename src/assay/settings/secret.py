"""Secrets from the environment or a file, read again when the file changes."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0
UNREADABLE = -2
"""In place of the time of a change."""


VARIABLE = re.compile(r"([A-Z_][A-Z0-9_]{0,63})?")
"""No key of a provider has this form: keys have lower-case letters."""

REFERENCE = re.compile(r"\$\{(?:(env|file):)?([^}]*)\}?")
"""`${env:NAME}` or `${file:PATH}` inside a text; anything else that begins so is a mistake."""


def _is_variable(name: str) -> str:
    """The error does not repeat the value, which may be a key in the wrong place."""
    if not VARIABLE.fullmatch(name):
        raise ValueError(
            "must be the name of an environment variable, such as OPENAI_API_KEY: capital "
            "letters, digits and underscores. A key itself belongs into that variable"
        )
    return name


VariableName = Annotated[str, AfterValidator(_is_variable)]


class Secret:
    """A callable that returns the secret's value, or None if there is none.

    A file is checked for changes at most once a second, so that a rotated key needs no restart.
    While the file cannot be read, the last value stays. At the start it must be readable: raises
    `OSError`.
    """

    def __init__(
        self, env: str = "", file: Path | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._file = file
        self._value = environ.get(env, "").strip() or None if env else None
        self._mtime_ns = -1
        self._next_check_s = 0.0
        if file is not None:
            self._value = file.read_text().strip() or None

    def __call__(self) -> str | None:
        if self._file is not None and time.monotonic() >= self._next_check_s:
            self._next_check_s = time.monotonic() + CHECK_EVERY_S
            self._read(self._file)
        return self._value

    def _read(self, file: Path) -> None:
        try:
            mtime_ns = file.stat().st_mtime_ns
            if mtime_ns != self._mtime_ns:
                self._value = file.read_text().strip() or None
                self._mtime_ns = mtime_ns
        except OSError as error:
            if self._mtime_ns != UNREADABLE:
                logger.warning("a secret's file cannot be read, its value stays: %s", error)
            self._mtime_ns = UNREADABLE

    def __repr__(self) -> str:
        return "Secret(***)"


class Template:
    """A callable that returns a value, with the secrets that its texts refer to filled in.

    Raises `ValueError` that names the reference, and never its value, for one without a value.
    """

    def __init__(self, value: Any, environ: Mapping[str, str] = os.environ) -> None:
        self._value = value
        self._secrets: dict[str, Secret] = {}

        def refer(found: re.Match[str]) -> str:
            self._secrets[found[0]] = _referred(found, environ)
            return ""

        _replaced(value, refer)

    def __call__(self) -> Any:
        if not self._secrets:
            return self._value
        return _replaced(self._value, lambda found: self._secrets[found[0]]() or "")

    def secrets(self) -> list[str]:
        return [secret() or "" for secret in self._secrets.values()]

    def __repr__(self) -> str:
        return "Template(***)"


def _replaced(value: Any, replacement: Callable[[re.Match[str]], str]) -> Any:
    """The value, with the replacement of each reference in its texts."""
    match value:
        case str():
            return REFERENCE.sub(replacement, value)
        case dict():
            return {name: _replaced(part, replacement) for name, part in value.items()}
        case list():
            return [_replaced(part, replacement) for part in value]
        case _:
            return value


def _referred(found: re.Match[str], environ: Mapping[str, str]) -> Secret:
    kind, name = found.groups()
    if kind is None or not found[0].endswith("}"):
        raise ValueError("${ begins a secret: write ${env:NAME} or ${file:PATH}")
    try:
        secret = Secret(name, None, environ) if kind == "env" else Secret("", Path(name))
    except OSError as error:
        raise ValueError(f"{found[0]}: {error.strerror}") from None
    if not secret():
        raise ValueError(f"{found[0]}: is empty or not set")
    return secret
