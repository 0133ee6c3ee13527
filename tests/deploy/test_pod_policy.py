"""What every pod must be: restricted, probed, bounded, spread, and free of secrets in clear."""

import re

import pytest

import assay
from assay.api.uploads import UPLOADS_AT_ONCE
from assay.evaluation.sandbox.pool import WORKERS_MAX
from assay.evaluation.sandbox.process import RESIDENT_BYTES_MAX
from assay.settings import load
from deploy.manifests import (
    INSTALLATIONS,
    OVERLAYS,
    SCALED,
    cases,
    containers,
    name_of_case,
    named,
    of_kind,
    pod_of,
    rendered,
    settings,
    workloads,
)

every_workload = pytest.mark.parametrize(("overlay", "workload"), list(cases()), ids=name_of_case)
every_overlay = pytest.mark.parametrize("overlay", INSTALLATIONS)

RESTRICTED_VOLUMES = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim"}
CLOSING_S = 15
IDLE_MB, HEADROOM = 120, 1.2
USUAL_WORKER_MB = 75
SECRET_TEXT = re.compile(r"(?:sk-|sk_live|AIza|ghp_|Bearer )[\w-]{8,}|://[^\s/:]*:[^\s/@]+@")


@every_workload
def test_pods_are_restricted(overlay, workload):
    """The `restricted` Pod Security Standard, and a read-only root file system on top."""
    pod = pod_of(workload)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & pod.keys()
    for volume in pod.get("volumes", []):
        assert volume.keys() - {"name"} <= RESTRICTED_VOLUMES
    for container in containers(pod):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in security
        assert not any("hostPort" in port for port in container.get("ports", []))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_enforces_it(overlay):
    """Kubernetes itself refuses a pod that is less. A chart has no namespace of its own."""
    (namespace,) = of_kind(rendered(overlay), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_workload
def test_pods_have_no_token(overlay, workload):
    """Neither the pod nor its service account mounts a key to the Kubernetes API."""
    pod = pod_of(workload)
    assert pod["automountServiceAccountToken"] is False
    accounts = {a["metadata"]["name"]: a for a in of_kind(rendered(overlay), "ServiceAccount")}
    if "serviceAccountName" in pod:
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert not of_kind(rendered(overlay), "Role", "ClusterRole", "RoleBinding")


@every_workload
def test_containers_are_probed(overlay, workload):
    """Start-up, readiness and liveness, at a port that the container names; a Job has none."""
    for container in containers(pod_of(workload)) if workload["kind"] != "Job" else ():
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            how = container[probe]
            target = how.get("httpGet") or how.get("tcpSocket")
            assert target["port"] in ports if target else how["exec"]["command"]
        if container["name"] == "assay":
            assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
            assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
            assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}


@every_workload
def test_containers_are_bounded(overlay, workload):
    """CPU, memory and scratch space are requested and limited."""
    for container in containers(pod_of(workload)):
        resources = container["resources"]
        for amounts in (resources["requests"], resources["limits"]):
            assert {"cpu", "memory"} <= amounts.keys()
    for volume in pod_of(workload).get("volumes", []):
        if "emptyDir" in volume:
            assert "sizeLimit" in volume["emptyDir"]


@every_overlay
def test_memory_holds_what_may_be_in_flight(overlay):
    """The request is the service with every byte in flight and its check workers as they usually
    are; the limit has room for the workers at their largest. Neither is more than a tenth over."""
    in_flight = load_settings(overlay).server.inflight_bytes_max / 1e6
    service_mb = (IDLE_MB + in_flight) * HEADROOM
    usual_mb = service_mb + WORKERS_MAX * USUAL_WORKER_MB
    largest_mb = service_mb + WORKERS_MAX * RESIDENT_BYTES_MAX / 1e6
    for container in assay_containers(overlay):
        resources = container["resources"]
        assert usual_mb <= mb(resources["requests"]["memory"]) < usual_mb * 1.1
        assert largest_mb <= mb(resources["limits"]["memory"]) < largest_mb * 1.1


@every_overlay
def test_uploads_fit_on_the_disk(overlay):
    """A pod of the API has room for all uploads that it holds at once; a full volume evicts it."""
    pod = pod_of(named(rendered(overlay), "Deployment", "assay-api"))
    (size,) = [
        volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if volume["name"] == "tmp"
    ]
    limit = pod["containers"][0]["resources"]["limits"]["ephemeral-storage"]
    most_mb = load_settings(overlay).records.upload_mb_max * 2**20 / 1e6 * UPLOADS_AT_ONCE
    assert most_mb < mb(size) <= mb(limit)


@pytest.mark.parametrize("overlay", SCALED)
def test_a_job_migrates_the_records(overlay):
    """It runs the pods' own image with the pods' own URL, and leaves in time for the next one."""
    objects = rendered(overlay)
    (job,) = of_kind(objects, "Job")
    (container,) = pod_of(job)["containers"]
    api = pod_of(named(objects, "Deployment", "assay-api"))["containers"][0]
    assert (container["args"], container["image"]) == (["migrate"], api["image"])
    url_file = str(load_settings(overlay).records.url_file)
    assert {"name": "ASSAY_RECORDS__URL_FILE", "value": url_file} in container["env"]
    assert "/run/secrets/assay/records" in {mount["mountPath"] for mount in api["volumeMounts"]}
    assert job["spec"]["ttlSecondsAfterFinished"] <= 60


@every_overlay
def test_check_workers_do_not_slow_the_event_loop(overlay):
    """The CPU limit is a core for the loop and one for each worker; throttling stops them all."""
    for container in assay_containers(overlay):
        assert int(container["resources"]["limits"]["cpu"]) == 1 + WORKERS_MAX


@every_workload
def test_images_are_pinned_by_version(overlay, workload):
    """No `latest`, no bare name; Assay's own tag is the version of this checkout."""
    for container in containers(pod_of(workload)):
        name, _, tag = container["image"].rpartition(":")
        assert name
        assert re.match(r"v?\d+\.\d+", tag)
        if container["name"] == "assay":
            assert tag == assay.__version__


@every_overlay
def test_a_pod_is_given_the_time_to_drain(overlay):
    """Grace covers the preStop sleep, a trickling body, the longest deadline, and closing."""
    server = load_settings(overlay).server
    pods = {w["metadata"]["name"]: pod_of(w) for w in workloads(rendered(overlay))}
    sleep_s = pods["assay-api"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    deadline_s = server.request_timeout_ms / 1000
    api_s = sleep_s + server.drain_delay_s + server.body_timeout_s + deadline_s + CLOSING_S
    assert pods["assay-api"]["terminationGracePeriodSeconds"] == api_s
    assert pods["assay-worker"]["terminationGracePeriodSeconds"] >= deadline_s + CLOSING_S


@every_workload
def test_rollouts_lose_no_capacity(overlay, workload):
    """A new pod is ready before an old one goes; pods are spread over zones and nodes."""
    if workload["kind"] != "Deployment":
        return
    assert workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    spread = pod_of(workload)["topologySpreadConstraints"]
    assert {constraint["topologyKey"] for constraint in spread} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    # Without it, pods of the old version count, and a rollout may end with all new ones together.
    assert all(constraint["matchLabelKeys"] == ["pod-template-hash"] for constraint in spread)
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert all(
        constraint["labelSelector"]["matchLabels"].items() <= labels.items()
        for constraint in spread
    )


@every_overlay
def test_secrets_are_nowhere_in_clear(overlay):
    """No Secret object, no secret in the environment, nothing that looks like a key."""
    objects = rendered(overlay)
    assert not of_kind(objects, "Secret")
    assert not SECRET_TEXT.search(str(objects))
    for workload in workloads(objects):
        for container in containers(pod_of(workload)):
            assert "envFrom" not in container
            assert all("valueFrom" not in variable for variable in container.get("env", []))


@every_overlay
def test_secret_files_are_where_the_settings_look(overlay):
    """Each file that assay.toml names lies in a mounted directory, never by subPath."""
    configured = load_settings(overlay)
    files = [configured.auth.keys_file, configured.redis.url_file, configured.records.url_file]
    files += [provider.api_key_file for provider in configured.providers.values()]
    for container in assay_containers(overlay):
        assert not any("subPath" in mount for mount in container["volumeMounts"])
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert all(str(file.parent) in mounted for file in files if file)
        config = next(env["value"] for env in container["env"] if env["name"] == "ASSAY_CONFIG")
        assert config == "/etc/assay/assay.toml"
        assert "/etc/assay" in mounted


@every_overlay
def test_every_mount_has_its_volume_and_every_volume_its_mount(overlay):
    """Nothing is mounted that is not there, and nothing lies about unused."""
    for workload in workloads(rendered(overlay)):
        pod = pod_of(workload)
        volumes = [volume["name"] for volume in pod.get("volumes", [])]
        claims = workload["spec"].get("volumeClaimTemplates", [])
        volumes += [claim["metadata"]["name"] for claim in claims]
        mounts = {
            mount["name"] for container in containers(pod) for mount in container["volumeMounts"]
        }
        assert mounts == set(volumes)


def load_settings(overlay):
    """The overlay's assay.toml as the service itself would read it."""
    return load(None, {}, settings(rendered(overlay)))


def mb(quantity: str) -> float:
    """Megabytes of a quantity in MiB."""
    return int(quantity.removesuffix("Mi")) * 1.048576


def assay_containers(overlay):
    return [
        container
        for workload in workloads(rendered(overlay))
        for container in containers(pod_of(workload))
        if container["name"] == "assay" and workload["kind"] == "Deployment"
    ]
