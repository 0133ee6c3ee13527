"""The rendered manifests, and how to find one's way in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
RENDERED = KUBERNETES / "rendered"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())

CHART = ROOT / "deploy" / "helm" / "assay"
HELM = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
DEV_SETTINGS = KUBERNETES / "overlays" / "dev" / "assay.toml"
RELEASES = {
    "helm": ["--namespace=assay"],
    "helm-keda": ["--namespace=assay", "--set=autoscaler=keda"],
    "helm-dev": [
        *("--namespace=assay", f"--values={CHART / 'values-dev.yaml'}"),
        f"--set-file=config={DEV_SETTINGS}",
    ],
    "helm-other": ["--namespace=other", f"--values={Path(__file__).parent / 'values.yaml'}"],
}
"""Releases of the chart: with its defaults, as the overlays are, and with values of every kind."""

INSTALLATIONS = [*OVERLAYS, *(RELEASES if HELM else ())]
SCALED = [name for name in INSTALLATIONS if not name.endswith("dev")]

Manifest = dict[str, Any]

# The same loader in C where it was built: eight times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def rendered(installation: str) -> list[Manifest]:
    """Every object of an overlay or a release; read once, to be looked at only."""
    if installation in RELEASES:
        text = helm_template(*RELEASES[installation]).stdout
    else:
        text = (RENDERED / f"{installation}.yaml").read_text()
    return [item for item in yaml.load_all(text, Loader=LOADER) if item]


def helm_template(*options: str) -> subprocess.CompletedProcess[str]:
    """What helm makes of the chart, or says against it."""
    command = [str(HELM), "template", "assay", str(CHART), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def of_kind(objects: list[Manifest], *kinds: str) -> list[Manifest]:
    return [item for item in objects if item["kind"] in kinds]


def workloads(objects: list[Manifest]) -> list[Manifest]:
    return of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


def pod_of(workload: Manifest) -> Manifest:
    return workload["spec"]["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def selects(selector: Manifest, labels: Manifest) -> bool:
    """Whether a selector (plain, or with matchLabels) takes an object of these labels."""
    wanted = selector.get("matchLabels", selector)
    return bool(wanted) and wanted.items() <= labels.items()


def named(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]
    return found


def settings(objects: list[Manifest]) -> Manifest:
    """The parsed assay.toml that the pods mount."""
    (config,) = [item for item in of_kind(objects, "ConfigMap") if "assay.toml" in item["data"]]
    return tomllib.loads(config["data"]["assay.toml"])


def cases() -> Iterator[tuple[str, Manifest]]:
    """Each workload of each installation, for parametrised tests."""
    for installation in INSTALLATIONS:
        for workload in workloads(rendered(installation)):
            yield installation, workload


def name_of_case(value: object) -> str:
    return value["metadata"]["name"] if isinstance(value, dict) else str(value)
