"""The plugin in runs of pytest, against a small service that obeys the input of a case."""

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from fakes.service import FakeService

pytest_plugins = ["pytester"]
# A run of pytester forgets the modules that it loads first, and httpx2 loads some when it is used.
httpx2.Client().close()
SRC = Path(__file__).parents[3] / "src"
PLUGIN = ("-p", "assay.pytest_plugin.hooks")
CHECK = "def test_it(assay):\n    assay.check(input={!r}, output='x', criteria='Polite.')\n"
RATE = """
import itertools, pytest
orders = itertools.cycle({orders})
@pytest.mark.assay(samples=5, min_pass_rate=0.6)
def test_rate(assay):
    assay.check(input=next(orders), output="x", criteria="Polite.")
"""


@pytest.fixture
def service():
    with FakeService() as running:
        yield running


@pytest.fixture
def run(pytester, monkeypatch, service):
    """Run pytest on a test file with the service: `run(text, *options)`."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    monkeypatch.setenv("ASSAY_URL", service.url)
    monkeypatch.setenv("ASSAY_API_KEY", "secret-key")

    def start(text, *options, apart=False):
        pytester.makepyfile(test_it=text)
        runner = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return runner(*PLUGIN, *options)

    return start


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_check_that_passes(run):
    """The result is returned, and the table at the end counts it."""
    ran = run(
        "def test_it(assay):\n"
        "    result = assay.check(input='pass', output='x', criteria='Polite.')\n"
        "    assert result['polite'].passed\n"
    )
    ran.assert_outcomes(passed=1)
    ran.stdout.re_match_lines(
        [r"polite +1 +0 +0 +0\.2500", r"1 judgements \(1 service\): 0 failed"]
    )


def test_a_check_that_fails_says_what_and_why(run):
    """The message has the criterion, its verdict and the output, at the line of the test."""
    ran = run(CHECK.format("fail"))
    ran.assert_outcomes(failed=1)
    ran.stdout.re_match_lines(
        [
            r"> +assay.check\(input='fail'",
            r"E +AssertionError: 1 of 1 criteria failed: polite",
            r"E +polite failed 0",
            r"E +input: fail",
            r"E +output: x",
            r"test_it.py:2: AssertionError",
        ],
        consecutive=False,
    )


def test_evaluate_asserts_nothing(run):
    """`evaluate` gives the result of an output that fails."""
    run(
        "def test_it(assay):\n"
        "    assert not assay.evaluate(input='fail', output='x', criteria='Polite.').passed\n"
    ).assert_outcomes(passed=1)


def test_a_refused_request_is_an_error_of_the_test(run):
    """The service's problem is shown at the line of the test, and counted as unscored."""
    ran = run(CHECK.format("refuse:422:unknown_criterion"), "--assay-unscored=skip")
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        ["E *InvalidRequest: unknown_criterion*", "test_it.py:2: InvalidRequest", "*1 error*"]
    )


@pytest.mark.parametrize(
    ("mode", "outcome"), [("fail", "failed"), ("skip", "skipped"), ("xfail", "xfailed")]
)
def test_unscored_is_what_the_option_says(run, mode, outcome):
    """Neither passed nor failed; the reason is in the message and in the table."""
    ran = run(CHECK.format("unscored"), f"--assay-unscored={mode}", "-rsx")
    ran.assert_outcomes(**{outcome: 1})
    assert "1 of 1 criteria unscored: polite" in ran.stdout.str()
    ran.stdout.re_match_lines([r"polite +0 +0 +1 .*judge_parse_error 1"])


def test_without_an_option_unscored_fails_and_says_how_to_change_that(run):
    """The default is the mode that cannot be overlooked."""
    ran = run(CHECK.format("unscored"))
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*judge_parse_error*", "*--assay-unscored=skip*"])


def test_simulated_verdicts_count_only_if_allowed(run, monkeypatch):
    """A judge that called no model has said nothing."""
    text = """
from assay.client import Assay
def test_it(assay, monkeypatch):
    found = {"results": [{"name": "a", "passed": True, "score": 1.0, "simulated": True}]}
    monkeypatch.setattr(Assay, "request", lambda *_, **__: {"passed": True, **found})
    assay.check(output="x", criteria="a")
"""
    ran = run(text)
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*1 of 1 criteria simulated: a", "*--assay-allow-simulated*"])
    run(text, "--assay-allow-simulated").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("orders", "outcome", "said"),
    [
        (["pass", "fail", "pass", "fail", "pass"], "passed", ""),
        (["pass", "fail"] * 2 + ["fail"], "failed", "2 of 5 samples passed; min_pass_rate is 0.6."),
        (["pass", "pass", "unscored", "fail", "fail"], "failed", "*samples passed, 1 unscored;*"),
        (["pass", "pass", "pass", "unscored", "fail"], "passed", ""),
        (["pass", "unscored", "fail", "fail", "fail"], "failed", "1 of 5 samples passed, 1 unsc*"),
    ],
)
def test_a_test_of_samples_passes_by_the_rate(run, service, orders, outcome, said):
    """Every sample runs; unscored ones count for neither side."""
    ran = run(RATE.format(orders=orders))
    ran.assert_outcomes(**{outcome: 1})
    assert len(service.bodies) == 5
    if said:
        ran.stdout.fnmatch_lines([said])


def test_samples_that_leave_it_open_are_unscored(run):
    """Where unscored samples decide, the test is what the option says; else it is not asked."""
    undecided = RATE.format(orders=["pass", "pass", "unscored", "fail", "fail"])
    run(undecided, "--assay-unscored=xfail").assert_outcomes(xfailed=1)
    decided = RATE.format(orders=["pass", "unscored", "fail", "fail", "fail"])
    run(decided, "--assay-unscored=xfail").assert_outcomes(failed=1)


def test_an_error_in_a_sample_is_no_sample(run):
    """What is not about the output ends the test at once."""
    text = RATE.format(orders=["pass"]).replace("assay.check(", "1 / 0; assay.check(")
    ran = run(text)
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*ZeroDivisionError*"])


@pytest.mark.parametrize("plugin", ["pytest_asyncio.plugin", "anyio.pytest_plugin"])
def test_async_tests_are_sampled(run, service, plugin):
    """The body of a coroutine runs anew for each sample, under both plugins."""
    mark = "anyio" if "anyio" in plugin else "asyncio"
    text = (
        "import pytest\n"
        "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
        f"@pytest.mark.{mark}\n@pytest.mark.assay(samples=3)\n"
        "async def test_it(assay):\n"
        "    assay.check(input='pass', output='x', criteria='Polite.')\n"
    )
    options = ("-o", "asyncio_default_fixture_loop_scope=function") if mark == "asyncio" else ()
    run(text, "-p", plugin, *options, apart=True).assert_outcomes(passed=1)
    assert len(service.bodies) == 3


def test_a_rate_counts_a_first_sample_that_fails(run, service):
    """It is a sample like the others."""
    run(RATE.format(orders=["fail", "pass", "pass", "fail", "pass"])).assert_outcomes(passed=1)
    assert len(service.bodies) == 5


@pytest.mark.parametrize("outcome", ["skip", "xfail"])
def test_a_sample_that_ends_the_test_ends_it(run, outcome):
    """Its own `pytest.xfail` or `pytest.skip` says nothing of the output, so it counts for none."""
    text = f"import pytest\n@pytest.mark.assay(samples=3)\ndef test_it(): pytest.{outcome}('known')"
    ended = {"skip": "skipped", "xfail": "xfailed"}[outcome]
    run(text).assert_outcomes(**{ended: 1})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("samples=0", "samples must be an integer"),
        ("samples=True", "samples must be an integer"),
        ("min_pass_rate=80", "min_pass_rate must be"),
        ("sample=3", "takes samples= and min_pass_rate= alone"),
    ],
)
def test_a_wrong_marker_is_found_before_anything_is_judged(run, service, arguments, said):
    """The error names the test and the argument."""
    ran = run(f"import pytest\n@pytest.mark.assay({arguments})\n{CHECK.format('pass')}")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([f"*test_it.py::test_it: @pytest.mark.assay: {said}*"])
    assert not service.bodies


CASES = """
import httpcore2  # noqa: F401  # which httpx2 loads late: pytester forgets what its runs load
import pytest
from assay.pytest_plugin import assay_cases
@pytest.mark.parametrize("case", assay_cases("cases.jsonl"))
def test_it(assay, case):
    assay.check(**case, criteria="Polite.")
"""


def test_the_rows_of_a_file_are_tests(run, pytester):
    """Each row is a test with the id of the row."""
    rows = [{"id": "q1", "input": "pass", "output": "x"}, {"input": "fail", "output": "x"}]
    (pytester.path / "cases.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    ran = run(CASES, "-v")
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.fnmatch_lines(["*::test_it?q1? PASSED*", "*::test_it?line-3? FAILED*"])


@pytest.mark.parametrize(("content", "said"), [("", "has no cases"), ("{}\n[1]", "*line 2: must*")])
def test_a_file_without_cases_is_an_error(run, pytester, content, said):
    """No test is lost in silence."""
    (pytester.path / "cases.jsonl").write_text(content)
    ran = run(CASES)
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines([f"*cases.jsonl*{said}*"])


def test_a_text_with_a_line_separator_is_one_line(run, service, pytester):
    """JSON Lines end at a line feed alone."""
    case = {"input": "pass", "output": "a\u2028b\u0085c"}
    text = json.dumps(case, ensure_ascii=False) + "\r\n"
    (pytester.path / "cases.jsonl").write_text(text, "utf-8", newline="")
    run(CASES).assert_outcomes(passed=1)
    assert service.bodies[0]["output"] == case["output"]


def test_a_report_makes_its_folder(run, pytester):
    """As a record does: what was paid for is not lost."""
    run(CHECK.format("pass"), "--assay-report", "new/folder/report.html").assert_outcomes(passed=1)
    assert "polite" in (pytester.path / "new/folder/report.html").read_text()


def test_a_report_that_is_a_folder_is_refused_before_anything_is_judged(run, service):
    """The run costs nothing, and does not end well without its report."""
    ran = run(CHECK.format("pass"), "--assay-report", ".")
    assert (ran.ret, service.bodies) == (pytest.ExitCode.USAGE_ERROR, [])
    ran.stderr.fnmatch_lines(["*--assay-report: * is a folder*"])


def test_without_a_service_three_ways_are_named(run, monkeypatch):
    """The error says what to do."""
    monkeypatch.delenv("ASSAY_URL")
    ran = run(CHECK.format("pass"))
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*ASSAY_URL*", "*--assay-local*", "*--assay-replay*"])


def test_verdicts_are_recorded_and_replayed_without_a_service(run, pytester, service):
    """The record answers alone: sorted, without a key of the API, with a verdict of each sample."""
    text = RATE.format(orders=["pass", "pass", "fail", "unscored", "pass"]) + CHECK.format("fail")
    first = run(text, "--assay-record", "rec")
    first.assert_outcomes(passed=1, failed=1)
    record = pytester.path / "rec" / "verdicts.jsonl"
    entries = lines(record)
    assert [entry["key"] for entry in entries] == sorted(entry["key"] for entry in entries)
    assert len(entries) == len(service.bodies) == 6
    assert "secret-key" not in record.read_text()
    assert not {"id", "latency_ms"} & set(entries[0]["response"])

    service.stop()
    again = run(text, "--assay-replay", "rec")
    again.assert_outcomes(passed=1, failed=1)
    again.stdout.fnmatch_lines(["6 judgements (6 replayed)*0.0000 USD."])


def test_a_record_does_not_change_if_nothing_did(run, pytester):
    """The same tests give the same bytes; entries of tests that did not run are kept."""
    run(CHECK.format("pass") + CHECK.format("fail").replace("test_it", "test_b"),
        "--assay-record=rec.jsonl")  # fmt: skip
    before = (pytester.path / "rec.jsonl").read_bytes()
    run(CHECK.format("pass"), "--assay-record=rec.jsonl")
    assert (pytester.path / "rec.jsonl").read_bytes() == before


def test_a_missing_record_names_the_test_and_says_how_to_record(run, service):
    """A changed case is no match; with both options, only that one is asked."""
    run(CHECK.format("pass"), "--assay-record=rec.jsonl")
    changed = CHECK.format("pass") + CHECK.format("fail").replace("test_it", "test_b")
    ran = run(changed, "--assay-replay=rec.jsonl")
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.fnmatch_lines(["*no verdict for a request of test_it.py::test_b*--assay-record*"])
    run(changed, "--assay-replay=rec.jsonl", "--assay-record=rec.jsonl")
    assert [body["input"] for body in service.bodies] == ["pass", "fail"]


def test_a_record_that_cannot_be_read_is_an_error(run, pytester):
    """A file that is not there ends the run at once; a broken line is named."""
    ran = run(CHECK.format("pass"), "--assay-replay=none.jsonl")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*there is no *none.jsonl; --assay-record *"])
    (pytester.path / "rec.jsonl").write_text("{}\n")
    ran = run(CHECK.format("pass"), "--assay-replay=rec.jsonl")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*rec.jsonl, line 1, is no recorded verdict*"])


def test_the_cache_spares_what_is_unchanged(run, service):
    """A second run asks for what has no score and for what has changed."""
    text = CHECK.format("pass") + CHECK.format("unscored").replace("test_it", "test_b")
    run(text, "-p", "cacheprovider", "--assay-cache")
    ran = run(text, "-p", "cacheprovider", "--assay-cache")
    ran.stdout.fnmatch_lines(["2 judgements (1 service, 1 cached)*0.2500 USD."])
    assert [body["input"] for body in service.bodies] == ["pass", "unscored", "unscored"]


def test_an_evaluator_without_a_version_is_not_cached(run, service):
    """Its name may mean another version tomorrow."""
    text = "def test_it(assay):\n    assay.evaluate(output='x', criteria=['a'], evaluator='e{}')\n"
    for version in ("", "", "@2", "@2"):
        run(text.format(version), "--assay-cache")
    assert [body["evaluator"] for body in service.bodies] == ["e", "e", "e@2"]


def test_the_processes_of_xdist_report_together(run, pytester):
    """One table, one record and one report of all processes."""
    text = "".join(
        CHECK.format(order).replace("test_it", f"test_{n}")
        for n, order in enumerate(["pass", "fail", "unscored", "pass"])
    ).replace("output='x'", "output=__import__('os').environ['PYTEST_CURRENT_TEST']")
    ran = run(
        text, "-p", "xdist.plugin", "-n2", "--assay-record=rec.jsonl", "--assay-report=r.html",
        apart=True,
    )  # fmt: skip
    ran.assert_outcomes(passed=2, failed=2)
    ran.stdout.re_match_lines([r"polite +2 +1 +1 +1\.0000", r"4 judgements \(4 service\)"])
    assert len(lines(pytester.path / "rec.jsonl")) == 4
    assert "<h2>Failed (1)</h2>" in (pytester.path / "r.html").read_text()


def test_options_of_the_configuration(run, pytester, monkeypatch, service):
    """The file of pytest's configuration can say all that the command line can."""
    monkeypatch.delenv("ASSAY_URL")
    pytester.makeini(f"[pytest]\nassay_url = {service.url}\nassay_unscored = skip\n")
    run(CHECK.format("unscored")).assert_outcomes(skipped=1)
    pytester.makeini("[pytest]\nassay_unscored = ignore\n")
    assert run(CHECK.format("pass")).ret == pytest.ExitCode.USAGE_ERROR


def test_the_plugin_costs_nothing_where_it_is_not_used():
    """Loading it takes neither the client nor anything that pytest does not."""
    code = "import sys, assay.pytest_plugin.hooks; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={"PYTHONPATH": str(SRC)},
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not loaded & {"httpx2", "orjson", "typer", "rich", "pydantic", "fastapi"}
    assert "assay.client" not in ran.stdout.split()
