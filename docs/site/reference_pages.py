"""Pages of the site that are generated: HTTP, the command line, the Python API, the decisions.

Nothing here is kept in the repository: the sources are the OpenAPI document, the commands' own help
and the docstrings, so that no page can differ from the code.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import typer.main
from typer.cli import get_docs_for_click

from assay import calibration, cli
from assay.criteria import CRITERIA

ROOT = Path(__file__).parents[2]
PYTHON_MODULES = (
    "assay.client",
    "assay.errors",
    *(f"assay.calibration.{module.name}" for module in iter_modules(calibration.__path__)),
)
CRITERION = "a [criterion](criteria.md)"
METHODS = ("get", "post", "put", "patch", "delete")
EXAMPLE_CHARS_MAX = 6_000
"""Longer examples are left to the OpenAPI document: nobody reads them on a page."""


def pages() -> dict[str, str]:
    """Every generated page by its path in the site."""
    document = json.loads((ROOT / "tests" / "golden" / "openapi.json").read_text())
    return {
        "http.md": http_page(document),
        "schemas.md": schemas_page(document["components"]["schemas"]),
        "cli.md": cli_page(),
        "python-api.md": python_page(),
        "adr/index.md": decisions_page(),
    }


def http_page(document: Mapping[str, Any]) -> str:
    """A section for each tag, and in it one for each operation."""
    known = {tag["name"]: tag.get("description", "") for tag in document.get("tags", ())}
    found: dict[str, list[str]] = {tag: [] for tag in known}
    for path, methods in document["paths"].items():
        for method in (name for name in METHODS if name in methods):
            [tag, *_] = methods[method].get("tags") or ["other"]
            found.setdefault(tag, []).append(operation(method, path, methods[method]))
    parts = [
        "# HTTP reference",
        "Every operation of `/openapi.json`. [HTTP API](api.md) explains how to use them.",
    ]
    for tag, operations in found.items():
        parts += [f"## {tag.capitalize()}", known.get(tag, ""), *operations]
    return "\n\n".join(filter(None, parts)) + "\n"


def operation(method: str, path: str, spec: Mapping[str, Any]) -> str:
    parts = [f"### `{method.upper()} {path}`", prose(spec.get("summary", "")).rstrip(".") + "."]
    if spec.get("description"):
        parts.append(prose(spec["description"]))
    if spec.get("parameters"):
        rows = [
            f"| `{one['name']}` | {one['in']} | {typed(one['schema'])} "
            f"| {cell(one.get('description', ''))} |"
            for one in spec["parameters"]
        ]
        parts.append("| parameter | in | type | meaning |\n| --- | --- | --- | --- |")
        parts[-1] += "\n" + "\n".join(rows)
    if spec.get("requestBody"):
        parts += content("Body", spec["requestBody"]["content"])
    rows = []
    for status, answer in spec["responses"].items():
        rows.append(f"| {status} | {cell(answer['description'])} |")
        if status.startswith("2"):
            parts += content(f"Response {status}", answer.get("content", {}))
    parts.append("| status | meaning |\n| --- | --- |\n" + "\n".join(rows))
    return "\n\n".join(parts)


def content(title: str, kinds: Mapping[str, Any]) -> Iterator[str]:
    """The schema of each content type, and its example folded away."""
    for kind, body in kinds.items():
        yield f"**{title}**, `{kind}`: {typed(body.get('schema', {}))}"
        examples = [one["value"] for one in body.get("examples", {}).values() if "value" in one]
        if "example" in body:
            examples.insert(0, body["example"])
        if not examples:
            continue
        [shown, *_] = examples
        text = shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False)
        if len(text) <= EXAMPLE_CHARS_MAX:
            language = "text" if isinstance(shown, str) else "json"
            yield indented(f"```{language}\n{text.rstrip()}\n```", f'??? example "{title}"')


def schemas_page(schemas: Mapping[str, Any]) -> str:
    """A table of fields for each schema but those of criteria, which have a page."""
    parts = [
        "# Schemas",
        "The bodies of the [HTTP API](http.md). Criteria are [elsewhere](criteria.md).",
    ]
    for name, schema in sorted(schemas.items()):
        kind = schema.get("properties", {}).get("type", {}).get("const")
        if kind in CRITERIA:
            continue
        parts += [f"## {name}", prose(schema.get("description", ""))]
        if not schema.get("properties"):
            parts.append(typed(schema))
            continue
        required = schema.get("required", ())
        parts.append("| field | type | meaning |\n| --- | --- | --- |")
        for field, spec in schema["properties"].items():
            star = " *required*" if field in required else ""
            parts[-1] += (
                f"\n| `{field}`{star} | {typed(spec)} | {cell(spec.get('description', ''))} |"
            )
    return "\n\n".join(filter(None, parts)) + "\n"


def typed(schema: Mapping[str, Any]) -> str:
    """A schema in a few words, with links to the named ones."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        of_criterion = name in {cls.__name__ for cls in CRITERIA.values()}
        return CRITERION if of_criterion else f"[{name}](schemas.md#{name.lower()})"
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(map(typed, schema[union])))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{json.dumps(value)}`" for value in values)
    if schema.get("type") == "array":
        return f"list of {typed(schema.get('items', {}))}"
    kind = schema.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    names = ("minimum", "maximum", "minLength", "maxLength", "pattern", "format", "default")
    bounds = [f"{name} `{json.dumps(schema[name])}`" for name in names if name in schema]
    return cell(", ".join([kind, *bounds]))


def cli_page() -> str:
    """The help of every command."""
    for name in cli.COMMANDS:
        import_module(f"assay.cli.{cli.MODULES.get(name, name)}")
    command = typer.main.get_command(cli.app)
    context = typer.Context(command, info_name="assay")
    text = get_docs_for_click(obj=command, ctx=context, name="assay", title="Command line")
    # The list of commands has their help cut; the page's own table of contents has them all.
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", text)
    return re.sub(r"```console\n\$ ", "```text\n", text)


def python_page() -> str:
    """What the public modules offer, from their docstrings."""
    parts = ["# Python API", "What the modules export, with their docstrings."]
    for name in PYTHON_MODULES:
        module = import_module(name)
        parts += [f"## `{name}`", described(module)]
        offered = getattr(module, "__all__", None) or [
            one for one, value in vars(module).items()
            if written_in(value) == name and not one.startswith("_")
        ]  # fmt: skip
        for one in offered:
            parts += exported(one, getattr(module, one))
    return "\n\n".join(filter(None, parts)) + "\n"


def written_in(value: Any) -> str | None:
    """The module that a class or function was written in."""
    return value.__module__ if inspect.isclass(value) or inspect.isfunction(value) else None


def exported(name: str, value: Any) -> Iterator[str]:
    """A class with its public methods, or a function."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return
    yield f"### `{name}`"
    if inspect.isfunction(value) or dataclasses.is_dataclass(value):
        yield signature(name, value)
    yield described(value)
    if not inspect.isclass(value):
        return
    for method, member in inspect.getmembers(value, inspect.isroutine):
        ours = str(getattr(member, "__module__", "")).startswith("assay.")
        if ours and not method.startswith("_"):
            yield signature(f"{name}.{method}", member)
            yield described(member)


def signature(name: str, value: Any) -> str:
    written = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(value)))
    return f"```text\n{name}{written.replace('(self, ', '(').replace('(self)', '()')}\n```"


def described(value: Any) -> str:
    """A docstring as Markdown: indented parts stay as they are written."""
    text = inspect.getdoc(value) or ""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        f"```text\n{one}\n```" if re.search(r"^\s", one, re.MULTILINE) else prose(one)
        for one in paragraphs
    )


def decisions_page() -> str:
    """The titles of the decisions, in their order."""
    files = sorted((ROOT / "docs" / "adr").glob("*.md"))
    rows = [
        f"- [{path.read_text().partition(chr(10))[0].lstrip('# ')}]({path.name})" for path in files
    ]
    return (
        "# Decisions\n\nWhy Assay is built as it is, one page for each decision.\n\n"
        + "\n".join(rows)
    )


def prose(text: str) -> str:
    """Text whose angle brackets are no tags."""
    return re.sub(r"<(?=[A-Za-z/])", "&lt;", text.strip())


def cell(text: str) -> str:
    return prose(text).replace("|", "\\|").replace("\n", " ")


def indented(text: str, under: str) -> str:
    return under + "\n\n" + "\n".join(f"    {line}" if line else "" for line in text.splitlines())
