"""How evaluators and datasets are named: `quality` is the newest version, `quality@3` the third."""

from __future__ import annotations

import re

from assay.domain.errors import FieldError, RequestError

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
REFERENCE_PATTERN = NAME_PATTERN + r"(?:@[1-9][0-9]{0,8})?"
NAME = re.compile(NAME_PATTERN)
_REFERENCE = re.compile(REFERENCE_PATTERN)


def named_version(reference: object, pointer: str) -> tuple[str, int | None]:
    """The name and the version of a reference; raises `RequestError` that points to it."""
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise at(pointer, "must be a name, such as quality, or a version of it, such as quality@3")
    name, _, version = reference.partition("@")
    return name, int(version) if version else None


def at(pointer: str, message: str) -> RequestError:
    """The error for one fault of a request."""
    return RequestError(
        "invalid_request", f"{pointer}: {message}.", (FieldError(pointer, message),)
    )
