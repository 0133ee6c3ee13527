"""The console's pages of evaluators."""

import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<script>alert('x')</script>"
RUBRIC = [{"type": "rubric", "name": "polite", "rubric": f"Polite. {HOSTILE}"}]
EXAMPLES = [
    {"case": {"output": "Paris"}, "expect": {"paris": {"passed": True}}},
    {"case": {"output": HOSTILE}, "expect": {"paris": {"passed": True}}},
]
CONTAINS = [{"type": "contains", "name": "paris", "value": "Paris"}]


async def test_evaluators_are_listed_newest_first_in_pages(console):
    """An empty list says what to do first; a long one leads on by a cursor."""
    assert "No evaluator yet" in (await console.get("evaluators")).words
    names = [await console.api.evaluator(CONTAINS) for _ in range(22)]
    first = await console.get("evaluators")
    assert f'evaluators/{names[-1]}"' in first.text
    assert f'evaluators/{names[0]}"' not in first.text
    cursor = first.text.partition("cursor=")[2].partition('"')[0]
    assert f'evaluators/{names[0]}"' in (await console.get("evaluators", cursor=cursor)).text


async def test_no_name_hides_an_evaluator(console):
    """Every name has a page, and the form of a new one has a path that no name can have."""
    for name in ("new", "a..b", "x.csv"):
        await console.api.ok("POST", "/v1/evaluators", {"name": name, "criteria": CONTAINS})
        assert f"<h1>{name}</h1>" in (await console.get(f"evaluators/{name}")).text
    assert "<h1>New evaluator</h1>" in (await console.get("evaluators/_new")).text


async def test_a_version_is_readable_and_its_texts_are_escaped(console):
    """Criteria stand as fields, also those that were sent as a text alone."""
    name = await console.api.evaluator([*RUBRIC, "Kind."], judge="both", description=HOSTILE)
    page = await console.get(f"evaluators/{name}")
    assert page.status == 200
    assert HOSTILE not in page.text
    assert f"Polite. {HOSTILE}" in page.words
    assert "Kind." in page.words
    assert (await console.get("evaluators/none")).status == 404


async def test_versions_are_saved_and_compared(console):
    """A changed criterion is named, with its value before and after."""
    saved = await console.press(
        "evaluators", name="compared", description="d", version=json.dumps({"criteria": RUBRIC})
    )
    assert saved.headers["hx-redirect"].endswith("/console/evaluators/compared")
    edit = await console.get("evaluators/compared/edit")
    assert HOSTILE not in edit.text
    changed = [{**RUBRIC[0], "rubric": "Friendly."}, {"type": "contains", "value": "x"}]
    await console.post(
        "evaluators/compared/versions",
        version=json.dumps({"criteria": changed, "metadata": {"owner": "us"}}),
    )
    diff = await console.get("evaluators/compared/diff", **{"from": "1", "to": "2"})
    assert f"criteria › polite › rubric changed Polite. {HOSTILE} Friendly." in diff.words
    assert "metadata › owner added us" in diff.words
    assert "criteria › no. 2 added" in diff.words
    assert HOSTILE not in diff.text
    old = await console.get("evaluators/compared", version="1")
    assert f"Polite. {HOSTILE}" in old.words


async def test_what_cannot_be_saved_says_why(console):
    """Faults of the JSON, of its shape and of a criterion are told, and nothing is saved."""
    broken = await console.press("evaluators", name="broken", version="{")
    assert (broken.status, "must be JSON" in broken.words) == (422, True)
    listed = await console.press("evaluators", name="broken", version="[]")
    assert (listed.status, "must be a JSON object" in listed.words) == (422, True)
    unknown = await console.press(
        "evaluators", name="broken", version='{"criteria": [{"type": "nope"}]}'
    )
    assert (unknown.status, "/criteria/0/type" in unknown.words) == (422, True)
    assert (await console.get("evaluators/broken")).status == 404


async def test_examples_are_tried(console):
    """Each example says whether it is as expected, and what differs."""
    name = await console.api.evaluator(CONTAINS, examples=EXAMPLES)
    assert "Try on 2 examples" in (await console.get(f"evaluators/{name}")).words
    report = await console.press(f"evaluators/{name}/versions/1/test")
    assert "1 of 2 examples are as expected" in report.words
    assert "paris: did not pass" in report.words
    assert HOSTILE not in report.text


async def test_an_evaluator_is_deleted(console):
    """It needs the token of the page, and leads back to the list."""
    name = await console.api.evaluator(CONTAINS)
    token, console.token = console.token, ""
    assert (await console.post(f"evaluators/{name}/delete")).status == 403
    console.token = token
    gone = await console.press(f"evaluators/{name}/delete")
    assert gone.headers["hx-redirect"] == "/console/evaluators"
    assert (await console.get(f"evaluators/{name}")).status == 404
