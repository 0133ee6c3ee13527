"""What becomes of settlements after one that fails."""

import asyncio

import pytest

from assay.domain.errors import StoreUnavailable
from assay.resilience.quota.settlements import Settlements


@pytest.mark.parametrize("failure", [StoreUnavailable("gone"), RuntimeError("unforeseen")])
async def test_settling_goes_on_after_a_batch_that_failed(failure):
    """A failed batch is lost alone; only what nobody expects is reported."""
    settled, reported = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: reported.append(told))

    async def settle(batch):
        if "bad" in batch:
            raise failure
        settled.extend(batch)

    settlements = Settlements(settle, gather_s=0.0)
    settlements.add("bad")
    await asyncio.sleep(0.02)
    settlements.add("good")
    await settlements.close()
    assert settled == ["good"]
    expected = [] if isinstance(failure, StoreUnavailable) else [failure]
    assert [told["exception"] for told in reported] == expected


async def test_what_was_added_last_is_settled_at_the_close():
    """Nobody waits in vain for others to come when the process leaves."""
    settled = []

    async def settle(batch):
        settled.extend(batch)

    settlements = Settlements(settle)
    for number in range(40):
        settlements.add(number)
    await settlements.close()
    assert settled == list(range(40))
