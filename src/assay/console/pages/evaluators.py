"""Evaluators: their versions, what changed between two of them, and their examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonpatch import JsonPatch
from jsonpointer import JsonPointer
from starlette.requests import Request
from starlette.responses import Response

from assay.console.api_calls import Api
from assay.console.forms import FormFault, read_json, read_texts
from assay.console.views import go, page

SPEC = ("criteria", "judge", "examples", "metadata")
"""What a version consists of."""
FIRST_SPEC = {
    "criteria": [{"type": "rubric", "name": "polite", "rubric": "The answer is polite."}],
    "examples": [{"case": {"output": "Gladly."}, "expect": {"polite": {"passed": True}}}],
}
VERSIONS_SHOWN = 100


async def evaluators(request: Request, api: Api) -> Response:
    """All evaluators, newest first."""
    found = await api.get("/v1/evaluators", cursor=request.query_params.get("cursor"))
    return page(request, "evaluators.html", found=found)


async def evaluator(request: Request, api: Api) -> Response:
    """One version, the newest or `?version=`, beside the list of all."""
    path = _path(request)
    version = request.query_params.get("version")
    one = await api.get(f"{path}/versions/{version}" if version else path)
    versions = await api.get(f"{path}/versions", limit=VERSIONS_SHOWN)
    return page(
        request, "evaluator.html", one=one, versions=versions, criteria=criteria_of(one)
    )  # fmt: skip


async def new(request: Request, _api: Api) -> Response:
    """The form of a new evaluator."""
    return page(request, "evaluator_form.html", one=None, spec=FIRST_SPEC)


async def create(request: Request, api: Api) -> Response:
    """Save an evaluator."""
    form = await request.form()
    named = read_texts(form, ("name", "description"))
    made = await api.post("/v1/evaluators", {**named, **_spec(read_json(form, "version"))})
    return go(request, f"evaluators/{made['name']}")


async def new_version(request: Request, api: Api) -> Response:
    """The form of a new version, which begins as a copy of the newest one."""
    one = await api.get(_path(request))
    spec = {name: one[name] for name in SPEC if one[name]}
    return page(request, "evaluator_form.html", one=one, spec=spec)


async def add_version(request: Request, api: Api) -> Response:
    """Save a new version; where somebody else has saved one meanwhile, only when told again."""
    path, form = _path(request), await request.form()
    known, newest = form.getlist("newest"), (await api.get(path))["version"]
    if known and known[-1] != str(newest):
        name = request.path_params["name"]
        return page(request, "evaluator_newer.html", name=name, first=known[0], newest=newest)
    made = await api.post(f"{path}/versions", _spec(read_json(form, "version")))
    return go(request, f"evaluators/{made['name']}")


async def diff(request: Request, api: Api) -> Response:
    """What changed from one version to another."""
    path, query = _path(request), request.query_params
    ends = {"from": query.get("from", ""), "to": query.get("to", "")}
    patch = (await api.get(f"{path}/diff", **ends))["patch"]
    before = await api.get(f"{path}/versions/{ends['from']}")
    changes = list(changes_of({name: before[name] for name in SPEC}, patch))
    return page(request, "evaluator_diff.html", one=before, ends=ends, changes=changes)


async def test(request: Request, api: Api) -> Response:
    """Try a version on its examples."""
    path, version = _path(request), request.path_params["version"]
    report = await api.post(f"{path}/versions/{version}/test")
    return page(request, "evaluator_test.html", report=report)


async def delete(request: Request, api: Api) -> Response:
    """Delete an evaluator."""
    await api.call("DELETE", _path(request))
    return go(request, "evaluators")


def criteria_of(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The criteria of a version as objects; a text alone is a rubric."""
    given = one["criteria"]
    listed = given if isinstance(given, list) else [given]
    return [
        criterion if isinstance(criterion, dict) else {"type": "rubric", "rubric": criterion}
        for criterion in listed
    ]


def changes_of(
    document: Any, patch: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, Any, Any]]:
    """What a JSON Patch does: kind of the change, place in words, value before and after."""
    for step in patch:
        kind, pointer = step["op"], JsonPointer(step["path"])
        place = _place(document, pointer)
        before = None if kind in ("add", "move") else pointer.resolve(document, None)
        if kind == "move":
            before = _place(document, JsonPointer(step["from"]))
        document = JsonPatch([step]).apply(document)
        after = None if kind == "remove" else pointer.resolve(document, None)
        yield kind, place, before, after


def _place(document: Any, pointer: JsonPointer) -> str:
    """Where a pointer leads, with the names of criteria in place of their numbers."""
    words: list[str] = []
    for part in pointer.parts:
        found: Any = None
        if isinstance(document, list):
            number = int(part) if str(part).isdigit() else len(document)
            found = document[number] if number < len(document) else None
            named = found.get("name") or found.get("type") if isinstance(found, dict) else None
            words.append(str(named or f"no. {number + 1}"))
        else:
            found = document.get(part) if isinstance(document, dict) else None
            words.append(str(part).replace("_", " "))
        document = found
    return " › ".join(words)


def _spec(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise FormFault("Version must be a JSON object")
    return document


def _path(request: Request) -> str:
    return f"/v1/evaluators/{request.path_params['name']}"


PAGES = (
    ("/evaluators", evaluators, "GET"),
    ("/evaluators", create, "POST"),
    ("/evaluators/_new", new, "GET"),  # no evaluator has this name
    ("/evaluators/{name}", evaluator, "GET"),
    ("/evaluators/{name}/edit", new_version, "GET"),
    ("/evaluators/{name}/versions", add_version, "POST"),
    ("/evaluators/{name}/diff", diff, "GET"),
    ("/evaluators/{name}/versions/{version}/test", test, "POST"),
    ("/evaluators/{name}/delete", delete, "POST"),
)
