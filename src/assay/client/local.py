"""A private service, for notebooks and tests."""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2

from assay.errors import INSTALL, LocalServiceError

START_S_MAX = 60.0
STOP_S_MAX = 20.0
POLL_S = 0.05
LOG_CHARS_SHOWN = 2_000
ADDRESSES = re.compile(r"^  API +(\S+).*\n  metrics +(\S+)/metrics$", re.MULTILINE)
"""How `assay serve` says where it listens."""
CLIENT_VARIABLES = ("ASSAY_URL", "ASSAY_API_KEY")


class LocalService:
    """`assay serve` on free ports, with a temporary folder for its data.

    It ends by `close`, at the end of this process, and if this process dies: it watches its
    standard input, which only this process holds open.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        """Start it and wait until it is ready; raises `LocalServiceError`."""
        if importlib.util.find_spec("fastapi") is None:
            raise LocalServiceError(f"the service is not installed: {INSTALL}")
        self._pid = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="assay-"))
        self._log = self._folder / "service.log"
        free = ["--port", "0", "--metrics-port", "0", "--host", "127.0.0.1"]
        command = [sys.executable, "-m", "assay", "serve", "--stop-with-stdin", *free]
        command += ["--data-dir", str(self._folder / "data"), *options]
        kept = {name: text for name, text in os.environ.items() if name not in CLIENT_VARIABLES}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=kept
            )
        atexit.register(self.close)
        try:
            self.url = self._ready()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the service and remove its data; a fork leaves both to the process it is of."""
        if self._pid != os.getpid():
            return
        atexit.unregister(self.close)
        self._process.terminate()
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> str:
        """The URL, once the service is ready."""
        late_s = time.monotonic() + START_S_MAX
        while time.monotonic() < late_s:
            log = self._log.read_text("utf-8", "replace")
            if self._process.poll() is not None:
                raise LocalServiceError(f"the service did not start: {log[-LOG_CHARS_SHOWN:]}")
            addresses = ADDRESSES.search(log)
            if addresses and httpx2.get(f"{addresses[2]}/readyz", trust_env=False).is_success:
                return addresses[1]
            time.sleep(POLL_S)
        raise LocalServiceError(f"the service is not ready after {START_S_MAX:.0f} s: {log}")
