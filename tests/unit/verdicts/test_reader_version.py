"""What the reader makes of all recorded answers is pinned to its version."""

from __future__ import annotations

import hashlib
import json

from assay.verdicts.reader import READER_VERSION, Protocol
from unit.verdicts import scales, test_cases, test_misleading
from unit.verdicts.scales import reading

PINNED = {1: "3c95cc087f48d1ec", 2: "3c95cc087f48d1ec"}
"""The digest of the readings by version. Where it differs, count `READER_VERSION` up and add the
new digest: results from before are not comparable with later ones, and the version in their
`revision` says so. Cases that are added only change the digest of the present version."""


def readings() -> str:
    """Every text of the cases with what is read of it, in one digest."""
    digest = hashlib.sha256()
    for row in json.loads(test_misleading.CASES.read_text()):
        scale = test_misleading.SCALES.get(row["scale"]) or getattr(scales, row["scale"])
        protocol = Protocol("7f3a", tuple(row.get("forms", ())))
        found = reading(row["text"], scale, row.get("finish", "stop"), protocol)
        read = None if found is None else (repr(found.value), found.method)
        digest.update(json.dumps([row["text"], row["scale"], read]).encode())
    for row in test_cases.ROWS:
        digest.update(json.dumps([row["judge_says"], repr(test_cases.said(row))]).encode())
    return digest.hexdigest()[:16]


def test_another_reading_is_another_version():
    """A change of any reading fails here until the version is counted up."""
    assert readings() == PINNED[READER_VERSION]
