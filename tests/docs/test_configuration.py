"""The configuration page lists every setting, and only those.

`ASSAY_RENEW_GOLDEN=1 pytest tests/docs/test_configuration.py` writes the tables anew.
"""

import os
import re
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from assay.settings import Settings, load

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
MARK = re.compile(r"(<!-- settings: begin -->\n).*(<!-- settings: end -->)", re.DOTALL)


def tables() -> str:
    """A table for each section, made from the settings' own types."""
    parts = []
    for name, section in Settings.model_fields.items():
        of_many = bool(get_args(section.annotation))
        model = get_args(section.annotation)[1] if of_many else section.annotation
        title = f"[{name}.NAME]" if of_many else f"[{name}]"
        rows = [row(key, field) for key, field in model.model_fields.items()]
        parts.append(
            f"### `{title}`\n\n| key | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows)
        )
    return "\n\n".join(parts) + "\n"


def row(key: str, field: FieldInfo) -> str:
    if field.is_required():
        default = "required"
    elif field.default in (None, (), {}) or str(field.default) == "":
        default = "unset"
    else:
        default = (
            f"`{str(field.default).lower() if field.default in (True, False) else field.default}`"
        )
    assert field.description, f"{key} has no description"
    return f"| `{key}` | {default} | {field.description} |"


def test_every_setting_is_documented():
    """A new setting without a line on the page fails here."""
    page = PAGE.read_text()
    renewed = MARK.sub(lambda found: found[1] + tables() + found[2], page)
    if os.environ.get("ASSAY_RENEW_GOLDEN"):
        PAGE.write_text(renewed)
    assert PAGE.read_text() == renewed


def test_the_examples_on_the_page_are_valid(tmp_path):
    """Each TOML block loads as it stands."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        file = tmp_path / "assay.toml"
        file.write_text(block)
        settings = load(file, {})
        assert isinstance(settings, BaseModel)
