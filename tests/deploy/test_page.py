"""The deployment page speaks of what is there."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from assay.http.keys_file import key_digest
from assay.settings import load
from deploy.manifests import KUBERNETES, OVERLAYS, ROOT, named, pod_of, rendered
from deploy.queries import panels

PAGE = (ROOT / "docs" / "deploy.md").read_text()


def test_every_path_on_it_exists():
    """Files, folders and scripts of the repository that it names are there."""
    found = set(re.findall(r"(?<!\.venv/)\b(?:deploy|bin|docs)/[\w./-]*\w", PAGE))
    assert found
    assert not {path for path in found if not (ROOT / path).exists()}


def test_every_link_leads_somewhere():
    """Relative links to other pages are not broken."""
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_every_overlay_is_described():
    """The table on top has a line for each."""
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE) == [
        "hpa-prometheus-adapter",
        "keda",
        "dev",
    ]
    assert set(OVERLAYS) == {"hpa-prometheus-adapter", "keda", "dev"}


SECTIONS = PAGE.split("\n## ")[1:3]
"""Trying it out, and the installation for production."""


@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.splitlines()[0])
def test_a_new_user_can_walk_through(section):
    """Each step has a check; each variable is set, and each chart's repository added, before."""
    steps = re.split(r"\n(?=\d\. )", section)[1:]
    assert len(steps) >= 4
    assert not [step.splitlines()[0] for step in steps if "check" not in step.lower()]
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    for use in re.finditer(r"\$([A-Z]+)", commands):
        assert f"{use[1]}=$(" in commands[: use.start()]
    for use in re.finditer(r"--install \S+ ([\w-]+)/", commands):
        assert f"helm repo add {use[1]} " in commands[: use.start()]
    assert not re.search(r"(?m)(^\s*|\$\()assay ", commands), "not on the PATH of a new user"


def test_its_command_for_a_key_prints_the_key_alone(tmp_path):
    """What the page puts into KEY is the key, and nothing that is said beside it."""
    (command,) = set(re.findall(r"KEY=\$\(\.venv/bin/assay (keys create --tenant me .*)\)", PAGE))
    run = subprocess.run(
        [sys.executable, "-m", "assay", *command.split()],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert re.fullmatch(r"assay_[\w-]{43}\n", run.stdout)
    assert key_digest(run.stdout.strip()) in (tmp_path / "keys").read_text()


def test_every_panel_it_sends_one_to_exists():
    """Names in italics are panels of the dashboard, or begin one."""
    titles = [panel["title"] for panel in panels()]
    section = PAGE.split("## When an alert fires")[1]
    named_panels = set(re.findall(r"\*([A-Z][^*\n]+)\*", section))
    assert named_panels
    assert all(any(t.startswith(name) for t in titles) for name in named_panels), named_panels


def test_its_figures_are_those_of_the_manifests():
    """Grace, memory and the numbers of pods are what is shipped."""
    objects = rendered("hpa-prometheus-adapter")
    api = pod_of(named(objects, "Deployment", "assay-api"))
    scaler = named(objects, "HorizontalPodAutoscaler", "assay-api")["spec"]
    resources = api["containers"][0]["resources"]
    assert f"at most {api['terminationGracePeriodSeconds']} s =" in PAGE
    for amount in ("requests", "limits"):
        memory = resources[amount]["memory"].removesuffix("Mi")
        assert f"| memory, {amount[:-1]} | {memory} MiB |" in PAGE
        assert f"| CPU, {amount[:-1]} | {resources[amount]['cpu']} |" in PAGE
    assert f"| pods | {scaler['minReplicas']} to {scaler['maxReplicas']} |" in PAGE


def test_the_shipped_settings_load():
    """Both assay.toml files are valid as they stand, and hold no secret value."""
    for file in KUBERNETES.rglob("assay.toml"):
        configured = load(file, {})
        assert configured.auth_required
        assert "api_key =" not in file.read_text()
        assert tomllib.loads(file.read_text())["server"]["host"] == "0.0.0.0"


def test_the_example_overlay_is_what_kustomize_reads():
    """The example under Production is YAML, and starts from an overlay that exists."""
    example = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    (base,) = example["resources"]
    assert (ROOT / "deploy" / base.split("deploy/")[1]).is_dir()
