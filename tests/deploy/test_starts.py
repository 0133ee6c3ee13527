"""A real process, started as the pods start it: the shipped settings, mounted secrets, SIGTERM."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import aiohttp
import pytest

from assay.http.keys_file import new_key
from deploy.manifests import KUBERNETES, ROOT
from fakes.redis_process import RedisProcess
from fakes.service_process import ServiceProcess, running_service

CASE = {"output": "Paris", "criteria": [{"type": "contains", "value": "Paris"}]}
NOTICED_S = 10
"""Longer than a changed file needs to be seen."""


class MountedSecret:
    """A secret as the kubelet mounts it: a link to a folder that is exchanged as a whole."""

    def __init__(self, folder: Path, **files: str) -> None:
        self.folder = folder
        self._version = 0
        self._folder_of_version: Path | None = None
        folder.mkdir(parents=True)
        self.exchange(**files)
        for name in files:
            (folder / name).symlink_to(Path("..data") / name)

    def exchange(self, **files: str) -> None:
        """Write the next version beside the last one and turn the link in one step."""
        self._version += 1
        last, written = self._folder_of_version, self.folder / f"..version-{self._version}"
        written.mkdir()
        for name, text in files.items():
            (written / name).write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(written.name)
        link.rename(self.folder / "..data")
        self._folder_of_version = written
        if last is not None:
            shutil.rmtree(last)


@pytest.fixture
def redis(tmp_path):
    folder = tmp_path / "redis-data"
    folder.mkdir()
    server = RedisProcess(folder)
    yield server
    server.stop()


async def evaluate(service: ServiceProcess, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{service.url}/v1/evaluations", json=CASE, headers=headers) as answer,
    ):
        return answer.status


async def becomes(service: ServiceProcess, key: str, status: int) -> None:
    async with asyncio.timeout(NOTICED_S):
        while True:
            if await evaluate(service, key) == status:
                return
            await asyncio.sleep(0.1)


async def test_the_shipped_settings_serve_from_mounted_secrets(tmp_path, redis):
    """The base assay.toml starts, asks for a key, takes a rotated one without a restart, and the
    process ends with 0 on SIGTERM."""
    first, first_line = new_key("first")
    second, second_line = new_key("second")
    keys = MountedSecret(tmp_path / "keys", keys=first_line)
    url = MountedSecret(tmp_path / "redis", url=redis.url)
    records = MountedSecret(tmp_path / "records", url="postgresql://assay@127.0.0.1:9/assay")
    providers = MountedSecret(tmp_path / "providers", openai="sk-none", anthropic="sk-none")
    mounted = {
        "ASSAY_SERVER__HOST": "127.0.0.1",
        "ASSAY_AUTH__KEYS_FILE": str(keys.folder / "keys"),
        "ASSAY_REDIS__URL_FILE": str(url.folder / "url"),
        "ASSAY_RECORDS__URL_FILE": str(records.folder / "url"),
        "ASSAY_PROVIDERS__OPENAI__API_KEY_FILE": str(providers.folder / "openai"),
        "ASSAY_PROVIDERS__ANTHROPIC__API_KEY_FILE": str(providers.folder / "anthropic"),
    }
    config = (KUBERNETES / "base" / "assay.toml").read_text()
    async with running_service(tmp_path, config, mounted) as service:
        assert await evaluate(service, first) == 200
        assert await evaluate(service, second) == 401
        keys.exchange(keys=second_line)
        await becomes(service, second, 200)
        assert await evaluate(service, first) == 401
        assert await service.stop() == 0
        log = service.log.read_text()
    assert "sk-none" not in log
    assert first not in log
    assert second not in log


async def test_the_call_of_the_page_is_scored_in_the_small_cluster(tmp_path, redis):
    """The body of docs/deploy.md, posted to the dev overlay's settings: completed, and marked as
    simulated."""
    page = (ROOT / "docs" / "deploy.md").read_text()
    (body,) = re.findall(r"^ *-d '(.*)'$", page, re.MULTILINE)
    key, line = new_key("me")
    keys = MountedSecret(tmp_path / "keys", keys=line)
    environ = {
        "ASSAY_SERVER__HOST": "127.0.0.1",
        "ASSAY_AUTH__KEYS_FILE": str(keys.folder / "keys"),
        "ASSAY_REDIS__URL": redis.url,
    }
    config = (KUBERNETES / "overlays" / "dev" / "assay.toml").read_text()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with (
        running_service(tmp_path, config, environ) as service,
        aiohttp.ClientSession() as session,
        session.post(f"{service.url}/v1/evaluations", data=body, headers=headers) as answer,
    ):
        evaluation = await answer.json()
    assert answer.status == 200
    assert evaluation["status"] == "completed"
    assert [result["simulated"] for result in evaluation["results"]] == [True]
