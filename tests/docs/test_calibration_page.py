"""The examples of the calibration page give what the page shows, on the recorded data."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from replay.recordings import DATA

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.exists(), reason=f"no recorded data at {DATA} (set ASSAY_DATA)"),
]


def test_the_examples_give_what_the_page_shows(monkeypatch):
    """All blocks in their order, as one session."""
    monkeypatch.setenv("ASSAY_DATA", str(DATA))
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    example = doctest.DocTestParser().get_doctest(code, {}, PAGE.name, str(PAGE), 0)
    said: list[str] = []
    with np.printoptions(legacy=False):
        failed = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert failed.attempted > 40
    assert not failed.failed, "".join(said)
