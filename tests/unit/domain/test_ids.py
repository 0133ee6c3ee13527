"""Random bytes are used once, in whatever thread or process."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assay.domain.ids import BLOCK_BYTES, random_hex

SRC = Path(__file__).parents[3] / "src"
FORKING = """
import os
from assay.domain.ids import random_hex

random_hex(16)  # the block that parent and child would share
reading, writing = os.pipe()
child = os.fork()
drawn = "\\n".join(random_hex(16) for _ in range(500))
if child == 0:
    os.write(writing, drawn.encode())
    os._exit(0)
os.close(writing)
with os.fdopen(reading) as pipe:
    print(pipe.read())
os.waitpid(child, 0)
print(drawn)
"""


@pytest.mark.parametrize(
    "size", [0, 1, 3, 8, 16, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES]
)
def test_as_many_bytes_as_asked_for(size):
    """In hex digits, two a byte, also where no block holds as many."""
    for _ in range(3):
        drawn = random_hex(size)
        assert len(drawn) == 2 * size
        assert bytes.fromhex(drawn).hex() == drawn


def test_nothing_is_drawn_twice_by_many_threads():
    """They share the blocks and none of what is in them, also where they switch all the time."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            several = threads.map(lambda _: [random_hex(16) for _ in range(2_000)], range(8))
            drawn = [each for some in several for each in some]
    finally:
        sys.setswitchinterval(interval_s)
    assert len(set(drawn)) == len(drawn) == 16_000
    assert {len(each) for each in drawn} == {32}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_draws_others():
    """The block that it was born with is its parent's."""
    run = subprocess.run(
        [sys.executable, "-c", FORKING],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=os.environ | {"PYTHONPATH": str(SRC)},
    )
    drawn = run.stdout.split()
    assert len(set(drawn)) == len(drawn) == 1_000
