"""The rules fire on what they are for and stay silent otherwise, as promtool sees it."""

import re
import shutil
import subprocess

import pytest
import yaml

from deploy.manifests import ROOT, named, rendered
from deploy.queries import queries, rule_groups, rules

CASES = ROOT / "tests" / "deploy" / "rules_test.yaml"
BACKLOG = [
    query
    for query in queries()
    if query.where in ("keda assay-worker", "adapter assay_batch_backlog_rows")
]
ALERTS = [rule for rule in rules() if "alert" in rule]

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not here: the rules are not run"
)


@pytest.fixture
def folder(tmp_path):
    """A folder with the rules as promtool reads them, and the cases beside."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": rule_groups()}))
    shutil.copy(CASES, tmp_path / "rules_test.yaml")
    return tmp_path


def promtool(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


@needs_promtool
def test_prometheus_takes_the_rules(folder):
    """promtool finds no fault in them."""
    result = promtool(folder, "check", "rules", "rules.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_the_rules_fire_when_they_should(folder):
    """Every case of rules_test.yaml comes out as it says."""
    result = promtool(folder, "test", "rules", "rules_test.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_a_case_can_fail(folder):
    """promtool really compares: an alert that is expected wrongly is a failure."""
    cases = yaml.safe_load(CASES.read_text())
    (silent,) = [case for case in cases["tests"] if case["name"] == "the last pod goes away"]
    for expected in silent["alert_rule_test"]:
        expected["exp_alerts"] = []
    (folder / "rules_test.yaml").write_text(yaml.safe_dump({**cases, "tests": [silent]}))
    assert promtool(folder, "test", "rules", "rules_test.yaml").returncode == 1


@needs_promtool
def test_a_pod_that_is_not_scraped_never_scales_down(tmp_path):
    """KEDA divides a sum by the pods there are: two pods that report 0.65 and one that has been
    silent for minutes are three pods at their target, and one that has just started is none."""
    (slots, *_) = named(rendered("keda"), "ScaledObject", "assay-api")["spec"]["triggers"]
    labels = 'namespace="assay",pod="assay-api-{}"'
    series = {
        f"assay_slot_utilization_ratio{{{labels.format('a')}}}": "0.65x20",
        f"assay_slot_utilization_ratio{{{labels.format('b')}}}": "0.65x20",
        f"up{{{labels.format('a')}}}": "1x20",
        f"up{{{labels.format('b')}}}": "1x20",
        f"up{{{labels.format('silent')}}}": "1x8 0x11",
        f"up{{{labels.format('new')}}}": "_x18 0 0 0",
    }
    sample = {"labels": "{}", "value": 3 * 0.65}
    case = {
        "interval": "30s",
        "input_series": [{"series": k, "values": v} for k, v in series.items()],
        "promql_expr_test": [
            {"expr": slots["metadata"]["query"], "eval_time": "9m30s", "exp_samples": [sample]}
        ],
    }
    (tmp_path / "case.yaml").write_text(yaml.safe_dump({"rule_files": [], "tests": [case]}))
    result = promtool(tmp_path, "test", "rules", "case.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
@pytest.mark.parametrize("query", BACKLOG, ids=lambda query: query.where)
def test_a_backlog_that_nobody_knows_is_no_number(tmp_path, query):
    """Without Redis the gauge is NaN, which autoscalers take for a number: they get none. What one
    pod knows counts."""
    labels = 'namespace="assay",pod="assay-api-{}"'
    name = "assay_batch_backlog_rows"
    series = {
        f"{name}{{{labels.format(1)}}}": "NaN NaN 40",
        f"{name}{{{labels.format(2)}}}": "NaN 30 NaN",
    }
    own = '{namespace="assay"}' if "by (" in query.text else "{}"
    case = {
        "interval": "30s",
        "input_series": [{"series": k, "values": v} for k, v in series.items()],
        "promql_expr_test": [
            {"expr": query.text, "eval_time": "0s", "exp_samples": []},
            {
                "expr": query.text,
                "eval_time": "30s",
                "exp_samples": [{"labels": own, "value": 30}],
            },
            {
                "expr": query.text,
                "eval_time": "60s",
                "exp_samples": [{"labels": own, "value": 40}],
            },
        ],
    }
    (tmp_path / "case.yaml").write_text(yaml.safe_dump({"rule_files": [], "tests": [case]}))
    result = promtool(tmp_path, "test", "rules", "case.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_case():
    """No alert is shipped that was never seen to fire, and never seen to stay silent."""
    expected: dict[str, set[bool]] = {}
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            expected.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    assert expected == {rule["alert"]: {True, False} for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule):
    """It has a severity, a summary, and a paragraph in the deployment page."""
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    page, anchor = rule["annotations"]["runbook_url"].split("#")
    titles = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
