"""Copies of batches to the records."""

from types import SimpleNamespace

from assay.batches.lasting import BatchArchive
from assay.domain.batches import Batch, ResultPage, StoredResult

BATCH = Batch("batch_1", "acme", "completed", 1, 2, finished_ms=1, total=2, uncopied=True)


class Redis:
    """The batch and its two results; `on_page` runs when a result was read."""

    def __init__(self, on_page):
        self.on_page, self.released = on_page, []

    async def request(self, batch_id):
        return b'{"tenant": "acme"}'

    async def find(self, tenant, batch_id):
        return BATCH

    async def page(self, batch, cursor, limit):
        self.on_page(cursor)
        return ResultPage([StoredResult(cursor, "a", b"{}")], cursor + 1, has_more=cursor == 0)

    async def sums(self, batch_id, *, by_group):
        return None

    async def release(self, batch, expires_ms):
        self.released.append(batch.id)


class Runs:
    """The copy of a run, which is None once it was deleted."""

    def __init__(self):
        self.rows, self.finished = [], False

    async def copied(self, batch_id):
        return None if self.rows is None else len(self.rows)

    async def add_results(self, batch_id, found, copied):
        if self.rows is not None:
            self.rows += found
        return self.rows is not None

    async def finish(self, batch, request, sums):
        self.finished = True


async def copied(runs, on_page):
    redis = Redis(on_page)

    async def stores():
        return SimpleNamespace(runs=runs)

    archive = BatchArchive(redis, redis, redis, stores, late_s=0, retention_s=1)
    await archive.copy(BATCH.id)
    assert redis.released == [BATCH.id]


async def test_a_copy_has_all_results():
    """Then the run is shown, and Redis may let the batch go."""
    runs = Runs()
    await copied(runs, lambda _: None)
    assert ([row.index for row in runs.rows], runs.finished) == ([0, 1], True)


async def test_a_copy_of_a_batch_that_is_deleted_ends():
    """It reads no further, and does not show the run."""
    runs, read = Runs(), []

    def delete(cursor):
        read.append(cursor)
        runs.rows = None

    await copied(runs, delete)
    assert (read, runs.finished) == ([0], False)
