"""How evaluators and datasets are named: `quality` is the newest version, `quality@3` the third."""

from __future__ import annotations

import re
from typing import TypeVar

from assay.domain.records import NamedRecord, VersionStore
from assay.http.problems import invalid_request

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
REFERENCE_PATTERN = NAME_PATTERN + r"(?:@[1-9][0-9]{0,8})?"
_REFERENCE = re.compile(REFERENCE_PATTERN)

Version = TypeVar("Version", bound=NamedRecord)


async def find_version(
    store: VersionStore[Version], tenant: str, reference: object, pointer: str
) -> Version | None:
    """The version that a reference names; raises `RequestError` that points to a malformed one."""
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        message = "must be a name, such as quality, or a version of it, such as quality@3"
        raise invalid_request(pointer, message)
    name, _, version = reference.partition("@")
    return await store.find(tenant, name, int(version) if version else None)
