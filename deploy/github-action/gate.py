"""Runs `assay` as a gate in GitHub Actions, and comments the result on the pull request.

Everything that is read here (rows, criteria, names) may be written by the author of the pull
request. It reaches commands as arguments and never a shell, and is escaped wherever it is shown.
"""

from __future__ import annotations

import html
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

COMMENT_CHARS_MAX = 60_000
"""GitHub takes 65,536."""
PAGES_MAX, PER_PAGE = 30, 100
TIMEOUT_S = 30
LINKS = re.compile(r"[@#]|://|www\.|GH-", re.IGNORECASE)
"""What GitHub turns into a mention, a reference or a link, even where Markdown is escaped."""
VERDICTS = {0: "✅ The gate is met", 1: "❌ The gate is not met"}
NO_BOUND = "☑️ All rows have a score, and there is no bound to meet"
UNDECIDED = "⚠️ The gate could not be decided"


def option(name: str) -> str:
    """An input of the action."""
    return os.environ.get(f"ASSAY_ACTION_{name}", "").strip()


def fail(message: str) -> None:
    print(f"assay action: {message}", file=sys.stderr)
    sys.exit(2)


def checked() -> None:
    """Exits where an input is wrong, before anything costs."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,50}", option("NAME")):
        fail("name: use letters, digits and hyphens")
    if option("MODE") not in ("evaluate", "batch"):
        fail("mode: use evaluate or batch")
    if option("MODE") == "batch" and not option("URL"):
        fail("url: mode batch needs the URL of a service")
    if option("REGRESSION") not in ("significant", "any", "none"):
        fail("regression: use significant, any or none")
    if option("BASE") and not Path(option("BASE")).is_file():
        fail("base: there is no such file")


def assay(*words: str) -> tuple[int, str]:
    """Runs a command of Assay, shows what it says, and returns its exit code and its output."""
    own = re.compile("ASSAY_ACTION_|(GITHUB|GH)_TOKEN$")
    kept = {name: text for name, text in os.environ.items() if not own.match(name)}
    for name in ("URL", "API_KEY"):
        if option(name):
            kept[f"ASSAY_{name}"] = option(name)
    sys.stdout.flush()
    run = subprocess.run(["assay", *words], env=kept, stdout=subprocess.PIPE, check=False)
    return run.returncode, run.stdout.decode("utf-8", "replace")


def scored(results: Path) -> tuple[int, str]:
    """Scores the dataset; the exit code and the table."""
    command = ["evaluate"] if option("MODE") == "evaluate" else ["batch", "run", "--watch"]
    command += [f"--criteria={option('CRITERIA')}", f"--out={results}"]
    for name in ("JUDGE", "MIN_SCORE", "MIN_PASS_RATE"):
        if option(name):
            command.append(f"--{name.lower().replace('_', '-')}={option(name)}")
    return assay(*command, *simulated(), "--", option("DATASET"))


def simulated() -> list[str]:
    return ["--allow-simulated"] if option("ALLOW_SIMULATED") == "true" else []


def compared(base: Path, results: Path) -> tuple[int, str, str]:
    """Compares the results with those of the base: the exit code, Markdown and JUnit XML."""
    any_row = ["--any-regression"] if option("REGRESSION") == "any" else []
    suite = results.with_name("comparison.xml")
    command = ["compare", "--format=markdown", f"--junit={suite}", *any_row, *simulated()]
    code, markdown = assay(*command, "--", str(base), str(results))
    return code, markdown, suite.read_text("utf-8") if suite.is_file() else ""


def base_file(cache: Path) -> Path | None:
    """The results to compare with, if there are any."""
    if option("BASE"):
        return Path(option("BASE"))
    kept = cache / "results.jsonl"
    pulled = os.environ.get("GITHUB_EVENT_NAME") == "pull_request"
    return kept if pulled and kept.is_file() else None


def harmless(text: str) -> str:
    """Text that GitHub links to nothing and that notifies nobody."""
    return LINKS.sub(lambda found: found[0][0] + "\u200b" + found[0][1:], text)


def verdict(code: int, comparison: str | None) -> str:
    """What the gate says in words."""
    bounded = option("MIN_SCORE") or option("MIN_PASS_RATE")
    if code == 0 and not bounded and (comparison is None or option("REGRESSION") == "none"):
        return NO_BOUND
    return VERDICTS.get(code, UNDECIDED)


def report(code: int, table: str, comparison: str | None) -> str:
    """The comment, as Markdown."""
    lines = [f"### Assay: {option('NAME')}", "", f"**{verdict(code, comparison)}.**", ""]
    if comparison is None:
        lines.append("There are no results of the base to compare with.")
    else:
        nothing = "Nothing could be compared; the log of the run says why."
        lines += ["#### Compared with the base", "", harmless(comparison) or nothing]
    shown = html.escape(harmless(table))
    lines += ["", "<details><summary>Scores</summary>", "", f"<pre>{shown}</pre>", "", "</details>"]
    return "\n".join(lines) + "\n"


def junit(code: int, table: str, comparison: str) -> str:
    """A test case for the gate, and the suite of the comparison."""
    suites = ET.Element("testsuites")
    suite = ET.SubElement(suites, "testsuite", name="assay gate", tests="1")
    case = ET.SubElement(suite, "testcase", classname="assay", name=option("NAME"))
    if code:
        kind = "failure" if code == 1 else "error"
        ET.SubElement(case, kind, message=VERDICTS.get(code, UNDECIDED)).text = table
    suite.attrib |= {"failures": str(int(code == 1)), "errors": str(int(code > 1))}
    if comparison:
        suites.append(ET.fromstring(comparison))
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    """A call to GitHub's API."""
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {option('GITHUB_TOKEN')}",
        "Content-Type": "application/json",
        "User-Agent": "assay",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        return json.load(response)


def comment(text: str) -> None:
    """Writes the comment of this gate on the pull request, or changes the one that is there."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text())
    number = int(event["pull_request"]["number"])
    issues = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    marker = f"<!-- assay:{option('NAME')} -->"
    body = {"body": cut(f"{marker}\n{text}")}
    for page in range(1, PAGES_MAX + 1):
        found = call("GET", f"{issues}/{number}/comments?per_page={PER_PAGE}&page={page}")
        for one in found:
            # Anyone can write the marker; only a bot's comment is its own.
            if (one["body"] or "").startswith(marker) and one["user"]["type"] == "Bot":
                call("PATCH", f"{issues}/comments/{int(one['id'])}", body)
                return
        if len(found) < PER_PAGE:
            break
    call("POST", f"{issues}/{number}/comments", body)


def cut(text: str) -> str:
    """The text as far as a comment holds it."""
    if len(text) <= COMMENT_CHARS_MAX:
        return text
    rest = "\n\n… The rest is in the summary of the run.\n"
    return text[: text.rindex("\n", 0, COMMENT_CHARS_MAX)] + rest


def try_to_comment(text: str) -> None:
    """A comment that cannot be written is no reason to fail: the summary has the same."""
    if os.environ.get("GITHUB_EVENT_NAME") != "pull_request" or not option("GITHUB_TOKEN"):
        return
    try:
        comment(text)
    except urllib.error.HTTPError as error:
        print(f"::warning::assay: the comment was refused with {error.code}: a pull request from "
              "a fork, or the job lacks the permission pull-requests:write")  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"::warning::assay: the comment could not be written: {type(error).__name__}")


def append(variable: str, text: str) -> None:
    """Adds text to one of the files that the runner reads."""
    if os.environ.get(variable):
        with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
            file.write(text)


def gate(folder: Path, cache: Path) -> tuple[int, str]:
    """Scores, compares and writes the files; the exit code and the report."""
    results = folder / "results.jsonl"
    code, table = scored(results)
    print(table)
    base, comparison, suite = base_file(cache), None, ""
    if base is not None and results.is_file():
        worse, comparison, suite = compared(base, results)
        print(comparison)
        # 3 says that nothing could be compared: no reason to stop a changed dataset.
        if worse in (1, 2) and option("REGRESSION") != "none":
            code = code or worse
    text = report(code, table, comparison)
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "junit.xml").write_text(junit(code, table, suite), encoding="utf-8")
    return code, text


def main() -> int:
    checked()
    temporary = Path(os.environ["RUNNER_TEMP"])
    folder = temporary / f"assay-{option('NAME')}"
    cache = temporary / f"assay-cache-{option('NAME')}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The runner obeys lines like ::add-mask::, wherever they come from, but not up to this word.
    word = secrets.token_hex(16)
    print(f"::stop-commands::{word}", flush=True)
    try:
        code, text = gate(folder, cache)
    finally:
        print(f"::{word}::", flush=True)
    results = folder / "results.jsonl"
    written = results.is_file()
    if written and os.environ.get("GITHUB_EVENT_NAME") == "push":
        cache.mkdir(exist_ok=True)
        shutil.copyfile(results, cache / results.name)
    append("GITHUB_STEP_SUMMARY", text)
    outputs = {"passed": str(code == 0).lower(), "results": results if written else ""}
    outputs |= {"junit": folder / "junit.xml", "markdown": folder / "report.md"}
    append("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in outputs.items()))
    try_to_comment(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
