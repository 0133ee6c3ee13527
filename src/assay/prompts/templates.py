"""The prompt templates of this package, rendered strictly; the file name is the version."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@cache
def _environment() -> Environment:
    # The result is a prompt, not a page: escaping would change the rubric's own words.
    environment = Environment(
        loader=PackageLoader("assay.prompts", "versions"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        # The package's own files do not change: without this each prompt looks at the disk.
        auto_reload=False,
    )
    environment.filters["plain"] = lambda number: f"{number:g}"
    environment.filters["tojson_plain"] = lambda text: json.dumps(text, ensure_ascii=False)
    return environment


@cache
def _template(version: str) -> Template:
    return _environment().get_template(f"{version}.md.j2")


def templates() -> str:
    """The source of all prompts."""
    folder = resources.files("assay.prompts") / "versions"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return "".join(file.read_text() for file in files if file.name.endswith(".j2"))


@cache
def _written(template: str) -> Template:
    return _environment().from_string(template.lstrip("\n"))


def render_text(template: str, **values: Any) -> str:
    """The text of a template that is no file of its own."""
    return _written(template).render(**values)


def render(version: str, **values: Any) -> str:
    """The text of a prompt such as `rubric.v1`; an unknown value raises `UndefinedError`."""
    return _template(version).render(values).strip() if values else _constant(version)


@cache
def _constant(version: str) -> str:
    """The text of a prompt without values."""
    return _template(version).render().strip()
