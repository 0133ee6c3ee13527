"""The attacks page has the figures that are measured.

`ASSAY_RENEW_GOLDEN=1 pytest tests/docs/test_attacks_page.py` writes the figures again.
"""

import os
import re
from pathlib import Path
from typing import get_args

import pytest

from assay.domain.evaluation import Sign
from fakes.attacks import DATA, report

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
MARK = re.compile(r"(<!-- attacks: begin -->\n).*(<!-- attacks: end -->)", re.DOTALL)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded data in {DATA}")
def test_the_figures_are_those_measured():
    """The shares on the page are those of the recorded attacks and texts."""
    page = PAGE.read_text()
    renewed = MARK.sub(lambda found: f"{found[1]}{report()}\n{found[2]}", page)
    if os.environ.get("ASSAY_RENEW_GOLDEN"):
        PAGE.write_text(renewed)
    assert PAGE.read_text() == renewed


def test_every_sign_is_explained():
    """The page explains every sign that a result can have."""
    for sign in get_args(Sign):
        assert f"`{sign}`" in PAGE.read_text()
