"""What the rows of a batch are read from: whole numbers of any length, and other encodings."""

from __future__ import annotations

import json

from assay.api.batches.items import check_rows
from assay.api.batches.lines import Line
from assay.domain.batches import NewRow
from assay.domain.exact_json import loads


def test_a_row_keeps_all_digits_of_its_numbers():
    """What is stored is what was sent, beyond 64 bits as well."""
    row = {"id": "a", "output": "", "metadata": {"n": 12345678901234567890123, "m": 1.5}}
    [[stored], bad] = check_rows([Line(1, json.dumps(row).encode())])
    assert not bad
    assert isinstance(stored, NewRow)
    assert loads(stored.document)["metadata"] == row["metadata"]


def test_a_row_in_another_encoding_is_told_its_first_wrong_byte():
    """The other rows are taken."""
    lines = [
        Line(1, '{"id": "a", "output": "Café"}'.encode("latin-1")),
        Line(2, '{"id": "b", "output": "Café"}'.encode()),
    ]
    [[stored], [bad]] = check_rows(lines)
    assert stored.item_id == "b"
    assert bad.message == "must be valid JSON: text is not valid UTF-8 at byte 27"
