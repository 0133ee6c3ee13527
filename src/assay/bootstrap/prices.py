"""What models cost and how much they read, where the configuration does not say."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)
LOOKUP_S_MAX = 30.0


class Published(NamedTuple):
    """The window of a model, and its prices from a size of the prompt on.

    Each is the size, then the prices of input, of output (None for an embedding, which has none to
    pay for), and of input that is read from a cache and written to it (None: as other input).
    """

    context_tokens: int | None = None
    prices: tuple[tuple[int, float, float | None, float | None, float | None], ...] = ()


@cache
def published(models: tuple[tuple[str, str], ...]) -> tuple[Published, ...]:
    """What the package of prices says of each model, by the URL of its API and its name."""
    if not models:
        return ()
    program = Path(__file__).parent / "price_lookup.py"
    try:
        answer = subprocess.run(  # noqa: S603 — our own program, with no argument from outside
            [sys.executable, "-P", str(program)],
            input=json.dumps(models).encode(),
            capture_output=True,
            timeout=LOOKUP_S_MAX,
            check=True,
        )
        found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        logger.warning("The prices of models cannot be looked up: %s", type(error).__name__)
        return (Published(),) * len(models)
    return tuple(
        Published(each["context_tokens"], tuple(map(tuple, each["prices"])))
        if each
        else Published()
        for each in found
    )
