"""Every code block of every page is run or read, or says why it is only shown.

A comment before a block changes what happens to it:

- `<!-- shown: WHY -->`: nothing.
- `<!-- status: 1 -->`: the commands end with this status; without it, 0.
- `<!-- schema: NAME -->`: the JSON is of this schema of the API; without it, an EvaluationRequest.

Commands and programs run in the order of their page, all pages against one service. A block of
output (`text` or `markdown`) has to be in what the block before it printed.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import promql_parser
import pytest
import yaml

from assay.settings import load
from fakes.page_blocks import FENCED, OUTPUT, ROOT, RUN, Block, blocks_of, run_blocks
from fakes.service_process import running_service

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
READ = {"json", "toml", "yaml", "promql"}
DRAWN = {"mermaid"}
"""By bin/docs, which fails where it cannot."""
OWN_TESTS = {
    "batches.md": ("tests/docs/test_batches_page.py", {"bash"}),
    "calibration.md": ("tests/docs/test_calibration_page.py", {"sh", *RUN, *OUTPUT}),
    "criteria.md": ("tests/docs/test_criteria_page.py", {"toml"}),
    "deploy.md": ("tests/deploy/test_page.py", {"sh"}),
    "operations.md": ("tests/docs/test_operations_page.py", {"sh"}),
    "README.md": ("tests/docs/test_readme.py", {"bash", "json"}),
    "continuous-integration.md": ("tests/deploy/test_github_action.py", {"sh"}),
    "pytest.md": ("tests/docs/test_pytest_page.py", {"bash", "python"}),
    "python.md": ("tests/docs/test_python_page.py", {"python", "text"}),
    "tutorial.md": ("tests/e2e/test_tutorial.py", RUN | OUTPUT),
    "typescript.md": ("tests/e2e/test_typescript_client.py", {"ts"}),
}
"""Pages whose blocks of these languages have a test that looks more closely."""
SCHEMAS = json.loads((ROOT / "tests" / "golden" / "openapi.json").read_text())["components"]
ADDRESS = re.compile(r"(?:http://)?(?:127\.0\.0\.1|localhost):8080")


def live(page: Path) -> Iterator[Block]:
    """The blocks that neither a test of their own nor a reason exempts."""
    _, elsewhere = OWN_TESTS.get(page.name, ("", set()))
    for block in blocks_of(page):
        if block.mark != "shown" and block.language not in elsewhere:
            yield block


BLOCKS = [block for page in PAGES for block in live(page)]


def test_every_block_is_of_a_known_kind():
    """A block in another language, or one without fences, fails here."""
    known = RUN | OUTPUT | READ | DRAWN
    strange = [block.place for block in BLOCKS if block.language not in known]
    for page in PAGES:
        unfenced = re.search(r"```|(?<=\n\n)    [^\s*-]", FENCED.sub("", page.read_text()))
        # A line that goes on in a list or a note is indented as well.
        if unfenced and not re.search(r"^ *(?:- |\d+\. |!!! )", page.read_text(), re.MULTILINE):
            strange.append(f"{page.name}: {unfenced[0]}")
    assert not strange


def test_every_page_with_a_test_of_its_own_has_it():
    """The tests that the list above names exist, and read their page."""
    for page, (test, _) in OWN_TESTS.items():
        assert page in (ROOT / test).read_text(), test


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language in READ], ids=lambda block: block.place
)
def test_what_a_block_says_is_valid(block: Block, tmp_path: Path):
    """JSON fits its schema, settings load, YAML and PromQL parse."""
    if block.language == "json":
        name = block.value if block.mark == "schema" else "EvaluationRequest"
        schema = {"$ref": f"#/components/schemas/{name}", "components": SCHEMAS}
        jsonschema_rs.validator_for(schema).validate(json.loads(block.text))
    elif block.language == "toml":
        (tmp_path / "assay.toml").write_text(block.text)
        load(tmp_path / "assay.toml", {})
    elif block.language == "yaml":
        assert list(yaml.safe_load_all(block.text))
    else:
        promql_parser.parse(block.text)


@pytest.mark.timeout(300)
async def test_every_command_runs(tmp_path: Path):
    """Each page in a folder of its own, with the tests' service in place of its reader's."""
    async with running_service(tmp_path) as service:
        for page in PAGES:
            blocks = [
                replace(block, text=ADDRESS.sub(service.url, block.text))
                for block in live(page)
                if block.language in RUN | OUTPUT
            ]
            if any(block.language in RUN for block in blocks):
                folder = tmp_path / page.stem
                folder.mkdir()
                await run_blocks(blocks, folder, {"ASSAY_URL": service.url})
