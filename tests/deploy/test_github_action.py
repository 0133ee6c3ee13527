"""The GitHub Action: its script against a real service and an API like GitHub's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import runpy
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import defusedxml.ElementTree
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

import assay
from deploy.manifests import ROOT
from fakes.service_process import clean_environment, running_service

ACTION = ROOT / "deploy" / "github-action"
ROWS = [{"id": f"row-{n}", "output": "good" if n % 2 else "bad"} for n in range(20)]
TOKEN = "the-token-of-the-job"


@dataclass
class FakeGitHub:
    """The comments of a pull request, and the requests for them."""

    comments: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    refuses: bool = False

    async def listed(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers["Authorization"])
        first = (int(request.query["page"]) - 1) * 100
        return web.json_response(self.comments[first : first + 100])

    async def added(self, request: web.Request) -> web.Response:
        if self.refuses:
            return web.json_response({"message": "Resource not accessible"}, status=403)
        self.write(len(self.comments) + 1, (await request.json())["body"], "Bot")
        return web.json_response({}, status=201)

    async def changed(self, request: web.Request) -> web.Response:
        one = self.comments[int(request.match_info["id"]) - 1]
        one["body"] = (await request.json())["body"]
        return web.json_response(one)

    def write(self, number: int, body: str, kind: str) -> None:
        self.comments.append({"id": number, "body": body, "user": {"type": kind}})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/repos/acme/bot/issues/7/comments", self.listed)
        app.router.add_post("/repos/acme/bot/issues/7/comments", self.added)
        app.router.add_patch("/repos/acme/bot/issues/comments/{id}", self.changed)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield site.name
        finally:
            await runner.cleanup()


class Job:
    """A folder like a runner's, with a service and a GitHub beside it."""

    def __init__(self, folder: Path, service: str, github: FakeGitHub, api: str) -> None:
        self.folder, self.github = folder, github
        self.environ = {
            **clean_environment(),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "RUNNER_TEMP": str(folder / "temp"),
            "GITHUB_API_URL": api,
            "GITHUB_REPOSITORY": "acme/bot",
            "GITHUB_EVENT_PATH": str(folder / "event.json"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_OUTPUT": str(folder / "output"),
            "ASSAY_ACTION_URL": service,
            "ASSAY_ACTION_GITHUB_TOKEN": TOKEN,
            "ASSAY_ACTION_NAME": "replies",
            "ASSAY_ACTION_MODE": "evaluate",
            "ASSAY_ACTION_DATASET": "rows.jsonl",
            "ASSAY_ACTION_CRITERIA": '{"type": "contains", "value": "good"}',
            "ASSAY_ACTION_REGRESSION": "significant",
        }
        (folder / "temp").mkdir()
        (folder / "event.json").write_text('{"pull_request": {"number": 7}}')
        self.write_rows(ROWS)

    def write_rows(self, rows: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / "rows.jsonl").write_text(text)

    async def run(self, event: str = "pull_request", **inputs: str) -> tuple[int, str]:
        """Runs the script as the action does; its exit code and everything that it printed."""
        environ = {**self.environ, "GITHUB_EVENT_NAME": event}
        environ |= {f"ASSAY_ACTION_{name}": text for name, text in inputs.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable, ACTION / "gate.py", cwd=self.folder, env=environ,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    def outputs(self) -> dict[str, str]:
        """The outputs of the last run."""
        lines = (self.folder / "output").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines[-4:])

    def suites(self) -> ET.Element:
        return defusedxml.ElementTree.fromstring(Path(self.outputs()["junit"]).read_text())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with running_service(tmp_path_factory.mktemp("service")) as process:
        yield process.url


@pytest_asyncio.fixture(loop_scope="module")
async def job(tmp_path: Path, service: str) -> AsyncIterator[Job]:
    github = FakeGitHub()
    async with github.running() as api:
        yield Job(tmp_path, service, github, api)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base(tmp_path_factory: pytest.TempPathFactory, service: str) -> str:
    """The results of the rows as they are, kept by a push."""
    pushed = Job(tmp_path_factory.mktemp("base"), service, FakeGitHub(), "http://127.0.0.1:9")
    assert (await pushed.run("push"))[0] == 0
    return pushed.outputs()["results"]


with_a_service = pytest.mark.asyncio(loop_scope="module")


@with_a_service
async def test_a_gate_passes_and_says_so_once(job: Job):
    """The comment is added, and changed by the next run; other people's comments stay."""
    job.github.write(1, "<!-- assay:replies -->\nnot by the action", "User")
    for number in range(2, 103):
        job.github.write(number, "a discussion", "User")
    code, _ = await job.run(MIN_PASS_RATE="0.5")
    assert code == 0
    assert job.outputs()["passed"] == "true"
    assert len(job.github.comments) == 103
    assert "✅ The gate is met" in job.github.comments[-1]["body"]
    code, _ = await job.run(MIN_PASS_RATE="0.6")
    assert code == 1
    assert job.outputs()["passed"] == "false"
    assert len(job.github.comments) == 103
    assert "❌ The gate is not met" in job.github.comments[-1]["body"]
    assert job.github.comments[0]["body"].endswith("not by the action")
    assert job.github.tokens == {f"Bearer {TOKEN}"}


@with_a_service
async def test_a_pull_request_is_compared_with_the_last_push(job: Job):
    """A push keeps its results; the worse outputs of a pull request fail its gate."""
    assert (await job.run("push"))[0] == 0
    assert not job.github.comments
    job.write_rows([{**row, "output": "bad"} for row in ROWS])
    assert (await job.run())[0] == 1
    (comment,) = job.github.comments
    assert "Compared with the base" in comment["body"]
    assert "regression" in comment["body"]
    assert (job.folder / "summary.md").read_text().endswith(comment["body"].split("\n", 1)[1])
    gate, comparison = job.suites()
    assert gate.attrib["failures"] == comparison.attrib["failures"] == "1"


@with_a_service
async def test_a_batch_is_compared_with_a_file(job: Job, base: str):
    """Its rows are those of the file, whichever way each was scored."""
    code, output = await job.run(MODE="batch", BASE=base)
    assert code == 0, output
    assert "20 items are in both runs" in job.github.comments[0]["body"]


@with_a_service
async def test_one_worse_row_fails_only_where_that_is_asked_for(job: Job, base: str):
    """It is no significant change; with `any` it is a failure."""
    job.write_rows([{**row, "output": "bad"} if row["id"] == "row-1" else row for row in ROWS])
    assert (await job.run(BASE=base))[0] == 0
    assert (await job.run(BASE=base, REGRESSION="any"))[0] == 1


@with_a_service
async def test_simulated_verdicts_decide_nothing(job: Job):
    """The gate is neither met nor missed, unless it is a trial."""
    words = {"CRITERIA": "It is polite.", "MIN_PASS_RATE": "0"}
    code, _ = await job.run(**words)
    assert code == 3
    assert "⚠️ The gate could not be decided" in job.github.comments[0]["body"]
    assert job.suites()[0].attrib["errors"] == "1"
    assert (await job.run(**words, ALLOW_SIMULATED="true"))[0] == 0


NAME = "$(touch pwned) `touch pwned` @octocat #1 https://evil.example <img src=x> </pre>"


@with_a_service
async def test_what_the_author_writes_is_only_text(job: Job):
    """A criterion's name runs nothing, notifies nobody and links to nothing. With `none`, the
    comparison is shown and decides nothing."""
    name = f"{NAME} ::stop"
    criteria = json.dumps({"type": "contains", "value": "good", "name": name})
    await job.run("push", CRITERIA=criteria)
    job.write_rows([{**row, "output": "bad"} for row in ROWS])
    code, output = await job.run(CRITERIA=criteria, REGRESSION="none")
    assert code == 0, output
    body = job.github.comments[0]["body"]
    assert "octocat" in body
    assert not re.search(r"@octocat|#1\b|https?://|(?<!\\)<img|(?m:^<!-- (?!assay))", body)
    assert body.count("</pre>") == 1
    assert not list(job.folder.rglob("pwned"))


@with_a_service
async def test_the_runner_obeys_nothing_that_is_printed(job: Job):
    """Whatever the commands print lies between a stop and its secret word."""
    job.write_rows([{"id": "::add-mask::x", "output": 5}, *ROWS])
    _, output = await job.run()
    lines = output.splitlines()
    (stop,) = [line for line in lines if line.startswith("::stop-commands::")]
    assert lines[0] == stop
    assert f"::{stop.rpartition(':')[2]}::" in lines


@with_a_service
async def test_a_comment_that_is_refused_does_not_decide(job: Job):
    """A pull request from a fork has no right to comment: a warning, and the gate as it is."""
    job.github.refuses = True
    code, output = await job.run()
    assert code == 0
    assert "::warning::assay: the comment was refused with 403" in output
    assert "☑️" in (job.folder / "summary.md").read_text()


@with_a_service
async def test_the_page_has_the_same_for_any_shell(job: Job, base: str):
    """Its lines run as they are, and end with 0 and both reports."""
    page = (ROOT / "docs" / "continuous-integration.md").read_text()
    (script,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (job.folder / "criteria.json").write_text(job.environ["ASSAY_ACTION_CRITERIA"])
    (job.folder / "base.jsonl").symlink_to(base)
    environ = {**job.environ, "ASSAY_URL": job.environ["ASSAY_ACTION_URL"]}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=job.folder, env=environ
    )
    assert await process.wait() == 0
    assert (job.folder / "report.md").is_file()
    assert (job.folder / "junit.xml").is_file()


def test_the_examples_of_the_page_name_inputs_that_there_are():
    """Its workflows are YAML, and no input of the action is misspelt."""
    page = (ROOT / "docs" / "continuous-integration.md").read_text()
    workflow, _ = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    step = workflow["jobs"]["gate"]["steps"][-1]
    inputs = yaml.safe_load((ACTION / "action.yml").read_text())["inputs"]
    assert step["with"].keys() <= inputs.keys()
    assert step["uses"].endswith(f"@v{assay.__version__}")
    assert {name for name, one in inputs.items() if one.get("required")} <= step["with"].keys()


def test_a_long_report_is_cut_for_the_comment():
    """GitHub takes 65,536 characters; the summary has them all."""
    gate = runpy.run_path(str(ACTION / "gate.py"))
    long = "a line of the report\n" * 10_000
    assert gate["cut"](long[:50_000]) == long[:50_000]
    assert len(gate["cut"](long)) < 65_536
    assert gate["cut"](long).endswith("The rest is in the summary of the run.\n")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("NAME", "a/../b", "name: use letters"),
        ("MODE", "", "mode: use evaluate or batch"),
        ("REGRESSION", "always", "regression: use"),
        ("BASE", "missing.jsonl", "base: there is no such file"),
    ],
)
@with_a_service
async def test_a_wrong_input_is_named(job: Job, name: str, value: str, complaint: str):
    """Nothing is scored."""
    code, output = await job.run(**{name: value})
    assert code == 2
    assert complaint in output
    assert not job.github.comments


def test_inputs_reach_the_script_and_never_a_shell():
    """Every expression stands in `env`, `with` or `if`; every variable is one that is read."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    steps = action["runs"]["steps"]
    assert not [step for step in steps if "${{" in step.get("run", "")]
    (gate,) = [step for step in steps if step.get("id") == "gate"]
    script = (ACTION / "gate.py").read_text()
    read = set(re.findall(r"[\"']([A-Z_]{3,})[\"']", script))
    assert {name.removeprefix("ASSAY_ACTION_") for name in gate["env"]} <= read
    expressions = json.dumps(steps)
    assert not [name for name in action["inputs"] if f"inputs.{name}" not in expressions]
    for name in action["outputs"]:
        assert f'"{name}"' in script
    assert action["inputs"]["package"]["default"].endswith(f"=={assay.__version__}")
