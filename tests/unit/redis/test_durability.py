"""How a disk is watched, with what INFO says in order."""

from __future__ import annotations

import pytest

from assay.redis import durability
from assay.redis.durability import Durability

QUIET = {"run_id": 1, "aof_enabled": 1, "aof_buffer_length": 0, "aof_pending_bio_fsync": 0}
FLUSHES = {**QUIET, "aof_pending_bio_fsync": 1}
WRITES = {**QUIET, "aof_buffer_length": 1}
RESTARTED = {**QUIET, "run_id": 2}


class ScriptedServer:
    """Says one thing after the other, and its last for ever."""

    def __init__(self, *states: dict[str, int]) -> None:
        self.states = list(states)

    async def info(self) -> dict[str, int]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    async def config_get(self, name: str) -> dict[str, str]:
        assert name == "appendfsync"
        return {"appendfsync": "everysec"}


@pytest.mark.parametrize(
    ("states", "reached"),
    [
        ([QUIET], True),
        ([FLUSHES, FLUSHES, WRITES, QUIET, FLUSHES, FLUSHES, FLUSHES, QUIET, FLUSHES], True),
        ([QUIET, QUIET, FLUSHES], False),
        ([WRITES], False),
        ([WRITES, WRITES, RESTARTED], False),
        ([QUIET, QUIET, RESTARTED], False),
    ],
    ids=[
        "fast",
        "slow disk",
        "no second flush ends",
        "nothing is written",
        "restarted before it was written",
        "restarted before its flush",
    ],
)
async def test_a_disk_may_be_busy_most_of_the_time(states, reached, monkeypatch):
    """It takes one quiet moment, and another after a flush has begun."""
    monkeypatch.setattr(durability, "FLUSH_EVERY_S", 0.0)
    monkeypatch.setattr(durability, "LOOK_EVERY_S", 0.0)
    assert await Durability(ScriptedServer(*states)).reached("key") is reached
