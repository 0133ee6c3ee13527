"""Makes the sync client from the async one: `python -m fakes.sync_client`, or bin/sync-client."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import tokenize_rt
import unasync

CLIENT = Path(__file__).parents[2] / "src" / "assay" / "client"
SOURCE, TARGET = CLIENT / "asynchronous", CLIENT / "synchronous"
RUFF = Path(sys.executable).with_name("ruff")
NAMES: Mapping[str, str] = {
    "asynchronous": "synchronous",
    "aclose": "close",
    "aiter_bytes": "iter_bytes",
    "Awaitable": "Awaited",
}
NOTE = '"""Made from `assay.client.asynchronous` by bin/sync-client: change it there."""\n'


class ToSync(unasync.Rule):  # type: ignore[misc]  # it has no types
    """The names of the sync client: without `Async`, `async_` and `await`."""

    def _unasync_name(self, name: str) -> str:
        known = self.token_replacements.get(name)
        return known or re.sub(r"^(Async(?=[A-Z])|async_(?=\w))", "", name)


def made() -> dict[str, str]:
    """The sync modules by their names, as they should be."""
    rule = ToSync(str(SOURCE), str(TARGET), NAMES)
    return {path.name: _made(rule, path) for path in sorted(SOURCE.glob("*.py"))}


def _made(rule: ToSync, path: Path) -> str:
    tokens = tokenize_rt.src_to_tokens(path.read_text())
    text = tokenize_rt.tokens_to_src(rule._unasync_tokens(tokens))
    # A coroutine that is awaited becomes a plain call.
    text = re.sub(r"Awaited\[((?:[^\[\]]|\[[^\[\]]*\])*)\]", r"\1", text)
    text = re.sub(r"\bAwaited, |, Awaited\b", "", text)
    text = re.sub(r'^""".*?"""\n', lambda _: NOTE, text, count=1, flags=re.DOTALL)
    for arguments in (["check", "--fix-only", "--quiet"], ["format", "--quiet"]):
        command = [RUFF, *arguments, "--stdin-filename", TARGET / path.name, "-"]
        text = subprocess.run(
            command, input=text, capture_output=True, check=True, encoding="utf-8"
        ).stdout
    return text


def main() -> None:
    """Write them."""
    for name, text in made().items():
        (TARGET / name).write_text(text)


if __name__ == "__main__":
    main()
