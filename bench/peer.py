"""The LiteLLM proxy in its own environment, doing only plain forwarding."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from processes import PEERS, Server, free_port, running

KEY = "sk-bench"
CONFIG = """\
model_list:
  - model_name: judge
    litellm_params:
      model: openai/judge
      api_base: http://127.0.0.1:{provider_port}/v1
      api_key: sk-stub
litellm_settings:
  telemetry: false
  set_verbose: false
  num_retries: 0
general_settings:
  master_key: {key}
"""


def installed() -> Path:
    """The folder of the peer's environment; created if it is missing."""
    home = PEERS / "litellm"
    if not (home / "bin" / "litellm").exists():
        print("installing the LiteLLM proxy into .bench/litellm", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "litellm[proxy]"], check=True)
    return home


def version() -> str:
    script = "import importlib.metadata as m; print(m.version('litellm'))"
    return subprocess.check_output(
        [installed() / "bin" / "python", "-c", script], text=True
    ).strip()


@contextlib.contextmanager
def litellm(folder: Path, provider: Server) -> Iterator[Server]:
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(CONFIG.format(provider_port=provider.port, key=KEY))
    home = installed()
    command = [
        home / "bin" / "litellm", "--config", config, "--port", str(port), "--host", "127.0.0.1",
        "--num_workers", "1",
    ]  # fmt: skip
    environ = {"PYTHONPATH": "", "LITELLM_LOG": "ERROR", "PATH": f"{home / 'bin'}:/usr/bin:/bin"}
    ready = f"http://127.0.0.1:{port}/health/liveliness"
    with running("litellm", command, port, folder, environ, ready) as server:
        yield server
