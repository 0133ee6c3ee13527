"""`assay evaluate` as a real process against a real server."""

import json
import re
import signal
import threading
import time

import pytest

from fakes.service import FakeService


@pytest.fixture
def rows(tmp_path):
    """Write rows (or raw lines) to a file and return its path."""

    def write(*given):
        path = tmp_path / "rows.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in given]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return write


def case(order, number=0):
    return {"id": f"{order}-{number}", "input": order, "output": "x"}


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def results(tmp_path):
    return records((tmp_path / "out.jsonl").read_text("utf-8"))


def test_every_row_is_scored_and_written_in_order(assay, rows, service, tmp_path):
    """Results stand in the order of the input although a slow row finishes late."""
    path = rows(case("slow"), *(case("pass", number) for number in range(5)))
    ran = assay("evaluate", path, "--criteria", "tone", "--url", service.url, "--out", "out.jsonl")
    assert ran.returncode == 0, ran.stderr
    assert [result["id"] for result in results(tmp_path)] == ["slow-0"] + [
        f"pass-{number}" for number in range(5)
    ]
    assert results(tmp_path)[1]["evaluation"]["score"] == 1.0
    assert [result["line"] for result in results(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_off_a_terminal_progress_is_plain_lines(assay, rows, service):
    """Without a terminal there is no bar and no escape code, and the last line says the end."""
    ran = assay("evaluate", rows(case("pass"), case("pass")), "--criteria=t", "--url", service.url)
    assert re.search(r"^2 rows \(100%\), 0 failed, [\d.]+ rows/s$", ran.stderr, re.MULTILINE)
    assert "\x1b" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        (("--min-score", "0.5"), 0),
        (("--min-score", "0.51"), 1),
        (("--min-pass-rate", "0.5"), 0),
        (("--min-pass-rate", "0.6"), 1),
        ((), 0),
    ],
)
def test_the_gate_decides_the_exit_code(assay, rows, service, gate, code):
    """A missed bound is exit code 1, and the message names it."""
    path = rows(case("pass"), case("fail"))
    ran = assay("evaluate", path, "--criteria", "tone", "--url", service.url, *gate)
    assert ran.returncode == code, ran.stderr
    assert ("gate not met" in ran.stderr) == (code == 1)


def test_unscored_rows_are_never_zero(assay, rows, service):
    """A row without a score changes no mean: it is counted apart, and the exit code says so."""
    path = rows(case("pass"), case("unscored"), case("pass"), case("unscored"))
    ran = assay("evaluate", path, "--criteria", "tone", "--url", service.url, "--min-score", "0.99")
    assert ran.returncode == 3
    cells = [re.split(r"\s*│\s*", line) for line in ran.stdout.splitlines() if "tone" in line]
    assert cells[0][1:8] == ["tone", "4", "1.0000", "100.0%", "50.0%", "0.0%", "1.0000"]
    assert cells[0][8] == "judge_parse_error 50.0%"


def test_a_gate_that_nothing_decides_is_not_met_with_success(assay, rows, service):
    """Where no row has a score, a gate neither passes nor blames the outputs."""
    ran = assay(
        "evaluate", rows(case("unscored")), "--criteria=t", "--url", service.url, "--min-score=0"
    )
    assert ran.returncode == 3


def test_bad_rows_are_named_and_sink_nobody(assay, rows, service, tmp_path):
    """A line that is no row, and one the service refuses, are reported with their line number."""
    path = rows(
        case("pass", 1),
        "{not json",
        "[1, 2]",
        '{"id": "nan", "output": NaN}',
        "",
        {"id": "no-output", "input": "pass"},
        '{"id": "esc", "input": "refuse:422:\\u001b[2Jx", "output": "x"}',
        case("pass", 2),
    )
    ran = assay("evaluate", path, "--criteria", "tone", "--url", service.url, "--out", "out.jsonl")
    assert ran.returncode == 3
    by_line = {result["line"]: result for result in results(tmp_path)}
    assert sorted(by_line) == [1, 2, 3, 4, 6, 7, 8]
    assert by_line[8]["evaluation"]["score"] == 1.0
    assert [by_line[line]["error"]["code"] for line in (2, 3, 4, 6)] == [
        *["bad_row"] * 3,
        "invalid_request",
    ]
    assert by_line[6]["error"]["errors"] == [{"pointer": "/output", "message": "Field required"}]
    assert "line 3: bad_row: must be a JSON object" in ran.stderr
    assert "line 6: invalid_request" in ran.stderr
    assert "(/output: Field required)" in ran.stderr
    assert "\x1b" not in ran.stderr + ran.stdout


def test_unicode_travels_unharmed(assay, rows, service, tmp_path):
    """Any script comes back as it was sent, also as id and as criterion."""
    path = rows({"id": "ключ🔑", "input": "pass", "output": "Grüße, 世界 🌍"})
    ran = assay("evaluate", path, "--criteria=höflich 🙂", "--url", service.url, "--out=out.jsonl")
    assert ran.returncode == 0, ran.stderr
    (record,) = results(tmp_path)
    assert record["id"] == "ключ🔑"
    assert record["evaluation"]["metadata"] == {"echo": "Grüße, 世界 🌍"}
    assert service.bodies[0]["criteria"] == ["höflich 🙂"]


def test_stdin_and_stdout(assay, service):
    """With - the rows come from stdin and only results go to stdout: fit for a pipe."""
    rows = "".join(json.dumps(case("pass", number)) + "\n" for number in range(3))
    ran = assay(
        "evaluate", "-", "--criteria=t", "--out=-", stdin=rows, env={"ASSAY_URL": service.url}
    )
    assert ran.returncode == 0, ran.stderr
    assert [result["id"] for result in records(ran.stdout)] == ["pass-0", "pass-1", "pass-2"]
    assert "Evaluation" in ran.stderr


@pytest.mark.parametrize(
    ("option", "sent"),
    [
        ('[{"type": "equals"}]', [{"type": "equals"}]),
        ('{"type": "equals"}', [{"type": "equals"}]),
        (' ["polite?", {"type": "equals"}]', ["polite?", {"type": "equals"}]),
        ("[Tone] It is polite.", ["[Tone] It is polite."]),
        ("{name} is greeted.", ["{name} is greeted."]),
    ],
)
def test_criteria_may_be_json(assay, rows, service, option, sent):
    """JSON is never judged as a rubric in words."""
    ran = assay("evaluate", rows(case("pass")), f"--criteria={option}", "--url", service.url)
    assert ran.returncode == 0, ran.stderr
    assert service.bodies[0]["criteria"] == sent


def test_broken_json_is_no_rubric(assay, rows, service):
    """A slip in JSON is an error, and nothing is judged."""
    ran = assay(
        "evaluate", rows(case("pass")), '--criteria=[{"type": "equals"]', "--url", service.url
    )
    assert ran.returncode == 2
    assert "not valid JSON" in ran.stderr
    assert service.bodies == []


def test_criteria_from_a_file_and_rows_with_their_own(assay, rows, service, tmp_path):
    """@file.json holds one criterion or many; what a row says itself comes first."""
    (tmp_path / "c.json").write_text('[{"type": "rubric", "name": "a"}, {"name": "b"}]')
    path = rows(case("pass"), {**case("pass"), "criteria": ["own"], "judge": "own"})
    ran = assay(
        "evaluate", path, "--criteria=@c.json", "--criteria=c", "--judge=j", "--url", service.url
    )
    assert ran.returncode == 0, ran.stderr
    by_judge = {body["judge"]: body["criteria"] for body in service.bodies}
    assert by_judge == {"j": [{"type": "rubric", "name": "a"}, {"name": "b"}, "c"], "own": ["own"]}


def test_concurrency_is_bounded(assay, rows, service):
    """The number of concurrent rows reaches the bound and never exceeds it."""
    path = rows(*(case("slow", number) for number in range(12)))
    ran = assay("evaluate", path, "--criteria=t", "--url", service.url, "--concurrency=3")
    assert ran.returncode == 0, ran.stderr
    assert service.at_work_max == 3


def test_the_key_reaches_the_service_and_nobody_else(assay, rows, tmp_path):
    """The key comes from the environment or a file; neither output shows it."""
    with FakeService(key="k-s3cret") as guarded:
        path = rows(case("pass"))
        (tmp_path / "key").write_text("k-s3cret\n")
        arguments = ("evaluate", path, "--criteria=t", "--url", guarded.url)
        by_file = assay(*arguments, "--api-key-file=key")
        by_environment = assay(*arguments, env={"ASSAY_API_KEY": "k-s3cret"})
        wrong = assay(*arguments, env={"ASSAY_API_KEY": "k-wrong-s3cret"})
    assert (by_file.returncode, by_environment.returncode, wrong.returncode) == (0, 0, 3)
    assert "unauthenticated" in wrong.stderr
    shown = "".join(ran.stdout + ran.stderr for ran in (by_file, by_environment, wrong))
    assert "s3cret" not in shown


def test_a_service_that_is_gone_ends_the_run_with_what_is_done(assay_started, rows, tmp_path):
    """When the server is killed the run stops, says so, and keeps the finished rows."""
    path = rows(case("pass", 1), *(case("slow", number) for number in range(40)))
    with FakeService() as mortal:
        process = assay_started(
            "evaluate", path, "--criteria=t", "--url", mortal.url, "--out=out.jsonl",
            "--concurrency=2", "--retry-for-s=0.5",
        )  # fmt: skip
        wait_for_lines(tmp_path / "out.jsonl", 3)
        mortal.stop()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "stopped: unreachable" in said
    done = results(tmp_path)
    assert done[0]["id"] == "pass-1"
    assert 3 <= len(done) < 41
    assert [each["line"] for each in done] == list(range(1, len(done) + 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_is_done(assay_started, rows, service, tmp_path, number):
    """Ctrl-C writes the finished rows, also those behind an unfinished one, and the summary."""
    path = rows(case("pass"), case("hang"), case("pass", 2), case("pass", 3))
    process = assay_started(
        "evaluate", path, "--criteria=t", "--url", service.url, "--out=out.jsonl"
    )
    wait_for_lines(tmp_path / "out.jsonl", 1)
    wait_until(lambda: len(service.bodies) == 4 and service.at_work == 1)
    time.sleep(0.2)  # the answers are sent; the client has yet to read them
    process.send_signal(number)
    shown, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert [result["line"] for result in results(tmp_path)] == [1, 3, 4]
    assert "interrupted after 3 rows" in said
    assert "all rows" in shown
    assert "Traceback" not in said


def test_an_interrupt_while_a_pipe_is_silent(assay_started, service, tmp_path):
    """Ctrl-C ends the command while its stdin is silent."""
    process = assay_started(
        "evaluate", "-", "--criteria=t", "--url", service.url, "--out=out.jsonl"
    )
    process.stdin.write(json.dumps(case("pass")) + "\n")
    process.stdin.flush()
    wait_for_lines(tmp_path / "out.jsonl", 1)
    process.send_signal(signal.SIGINT)
    ended = threading.Event()
    threading.Thread(target=lambda: process.wait(20) == 130 and ended.set()).start()
    assert ended.wait(20)
    assert "Fatal" not in process.stderr.read()


@pytest.mark.parametrize(
    "arguments",
    [
        ("missing.jsonl", "--criteria=t"),
        (".", "--criteria=t"),
        ("rows.jsonl",),
        ("rows.jsonl", "--criteria=@missing.json"),
        ("rows.jsonl", "--criteria=@rows.jsonl"),
        ("rows.jsonl", "--criteria="),
        ("rows.jsonl", "--criteria=t", "--concurrency=0"),
        ("rows.jsonl", "--criteria=t", "--min-score=2"),
        ("rows.jsonl", "--criteria=t", "--url=ftp://x"),
        ("rows.jsonl", "--criteria=t", "--out=rows.jsonl"),
        ("rows.jsonl", "--criteria=t", "--api-key-file=missing"),
    ],
)
def test_wrong_use_is_exit_code_2(assay, rows, service, arguments):
    """Wrong arguments are reported before anything is sent."""
    rows("[1", "[2")
    ran = assay("evaluate", *arguments, env={"ASSAY_URL": service.url})
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    assert service.bodies == []


def wait_for_lines(path, count):
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count)


def wait_until(condition):
    for _ in range(1_000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("did not happen")


def test_reports_are_written_also_of_a_gate_that_is_missed(assay, rows, service, tmp_path):
    """A page, JUnit XML and Markdown, with the gate and the rows that did not pass."""
    path = rows(case("pass"), case("fail"), case("unscored"), "no JSON")
    files = ("--report", "r.html", "--junit", "r.xml", "--markdown", "r.md")
    ran = assay(
        "evaluate", path, "--criteria=tone", "--url", service.url, "--min-score=0.9", *files
    )
    assert ran.returncode == 1, ran.stderr
    for name in files[1::2]:
        text = (tmp_path / name).read_text("utf-8")
        assert "Gate not met: score at most 0.7500 is below 0.9" in text.replace("\\", "")
        assert "fail-0" in text.replace("\\", "")
        assert f"assay evaluate {path}" in text.replace("\\", "")
        assert "bad\\_row" in text or "bad_row" in text


@pytest.mark.parametrize("option", ["--report", "--junit", "--markdown"])
def test_a_report_that_cannot_be_written_costs_nothing(assay, rows, service, option):
    """A folder that is not there, or the input itself, is a wrong argument."""
    path = rows(case("pass"))
    for target in ("nowhere/report", path):
        ran = assay("evaluate", path, "--criteria=t", "--url", service.url, option, target)
        assert ran.returncode == 2, ran.stderr
    assert not service.bodies
    assert path.read_text()
