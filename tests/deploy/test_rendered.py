"""The committed manifests are what the overlays say, and what Kubernetes understands."""

import re
import shutil
import subprocess

import kubernetes_validate
import pytest

from deploy.manifests import INSTALLATIONS, KUBERNETES, OVERLAYS, ROOT, rendered

KUBERNETES_VERSIONS = ("1.34", "1.35", "1.36", "1.37")

# Custom resources have no schema in Kubernetes itself. This minimal check of our own knows the
# fields without which their controllers do nothing; it does not replace their schemas.
CUSTOM = {
    ("monitoring.coreos.com/v1", "PodMonitor"): {"selector", "podMetricsEndpoints"},
    ("monitoring.coreos.com/v1", "PrometheusRule"): {"groups"},
    ("keda.sh/v1alpha1", "ScaledObject"): {"scaleTargetRef", "triggers"},
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {"parentRefs", "hostnames", "rules"},
}


@pytest.mark.skipif(
    not (shutil.which("kubectl") or shutil.which("kustomize")),
    reason="neither kubectl nor kustomize here: the rendered manifests are not compared",
)
def test_the_committed_manifests_are_what_the_overlays_render():
    """`bin/render` has been run since the overlays changed."""
    command = [ROOT / "bin" / "render", "--check"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_overlay_is_rendered_and_nothing_else():
    """No overlay without its file, no file without its overlay."""
    assert sorted(path.stem for path in (KUBERNETES / "rendered").iterdir()) == OVERLAYS


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("overlay", INSTALLATIONS)
def test_every_object_is_valid(overlay, version):
    """Strict schemas of the last four Kubernetes versions take every object but custom ones."""
    for item in rendered(overlay):
        if (item["apiVersion"], item["kind"]) in CUSTOM:
            continue
        assert kubernetes_validate.validate(item, version, strict=True) == version


def test_the_validation_refuses_what_is_wrong():
    """A field that no version knows is an error: the strict schemas are in use."""
    wrong = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"prots": []},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES_VERSIONS[-1], strict=True)


@pytest.mark.parametrize("overlay", INSTALLATIONS)
def test_custom_objects_have_what_their_controllers_need(overlay):
    """Each is of a kind we know, with a proper name and its indispensable fields."""
    for item in rendered(overlay):
        if (item["apiVersion"], item["kind"]) not in CUSTOM:
            continue
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", item["metadata"]["name"])
        assert CUSTOM[item["apiVersion"], item["kind"]] <= item["spec"].keys()


def test_the_small_cluster_needs_no_operator():
    """The dev overlay consists of objects that every Kubernetes knows."""
    assert not {(item["apiVersion"], item["kind"]) for item in rendered("dev")} & CUSTOM.keys()
