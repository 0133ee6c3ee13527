"""The rendered manifests, and how to find one's way in them."""

from __future__ import annotations

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

Manifest = dict[str, Any]

# The same loader in C where it was built: eight times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def rendered(overlay: str) -> list[Manifest]:
    """Every object of an overlay; read once, to be looked at only."""
    return list(yaml.load_all((RENDERED / f"{overlay}.yaml").read_text(), Loader=LOADER))


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
    """Each workload of each overlay, for parametrised tests."""
    for overlay in OVERLAYS:
        for workload in workloads(rendered(overlay)):
            yield overlay, workload


def name_of_case(value: object) -> str:
    return value["metadata"]["name"] if isinstance(value, dict) else str(value)
