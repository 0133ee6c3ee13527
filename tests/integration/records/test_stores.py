"""The stores of records, on a SQLite file and on a real PostgreSQL."""

import asyncio
import gc

import pytest
from sqlalchemy import text

from assay.domain.errors import RequestError
from assay.domain.ids import now_ms
from assay.domain.records import ItemFilter, NewItem, RecordsUnavailable
from assay.records.database import Database
from assay.records.datasets import REMOVED_AT_ONCE, RecordedDatasets
from assay.records.evaluators import RecordedEvaluators
from assay.records.removal import ABANDONED_MS, RESERVED_MS, purge

SPEC = {"criteria": [{"type": "contains", "value": "a"}], "judge": None}


def item(line: int, id_: str, text: str = "x", **kinds) -> NewItem:
    return NewItem(line, id_, f"digest of {text}", text.encode(), **kinds)


async def upload(store, dataset, *items, append=False):
    opened = await store.open_upload(dataset)
    await store.add_items(opened, items)
    return await store.publish(opened, append=append)


class TestEvaluators:
    async def test_versions_are_counted_and_never_change(self, database: Database):
        """Each version is found by its number, and the newest without one."""
        store = RecordedEvaluators(database)
        await store.create("acme", "quality", "good answers", SPEC)
        second = await store.add_version("acme", "quality", {**SPEC, "judge": "strict"})
        assert second is not None
        assert (second.version, second.spec["judge"]) == (2, "strict")
        assert await store.find("acme", "quality") == second
        first = await store.find("acme", "quality", 1)
        assert first is not None
        assert (first.version, first.spec, first.description) == (1, SPEC, "good answers")
        assert [each.version for each in await store.versions("acme", "quality")] == [2, 1]
        assert await store.find("acme", "quality", 3) is None

    async def test_versions_made_at_once_have_different_numbers(self, database: Database):
        """Ten versions made at the same time are numbered 2 to 11."""
        store = RecordedEvaluators(database)
        await store.create("acme", "quality", "", SPEC)
        made = await asyncio.gather(
            *(store.add_version("acme", "quality", SPEC) for _ in range(10))
        )
        assert sorted(each.version for each in made if each) == list(range(2, 12))

    async def test_other_tenants_see_nothing(self, database: Database):
        """A name belongs to its tenant: another one does not find it and may use it, too."""
        store = RecordedEvaluators(database)
        await store.create("acme", "quality", "", SPEC)
        assert await store.find("other", "quality") is None
        assert await store.add_version("other", "quality", SPEC) is None
        assert not await store.delete("other", "quality", erase=True)
        assert await store.page("other", "", 10) == []
        await store.create("other", "quality", "", SPEC)

    async def test_a_name_is_taken_once(self, database: Database):
        """Of many who create one name at the same time, one succeeds."""
        store = RecordedEvaluators(database)
        made = await asyncio.gather(
            *(store.create("acme", "quality", "", SPEC) for _ in range(5)), return_exceptions=True
        )
        refused = [each for each in made if isinstance(each, RequestError)]
        assert len(refused) == 4
        assert {each.code for each in refused} == {"conflict"}

    async def test_a_deleted_name_stays_reserved_until_it_is_erased(self, database: Database):
        """What is deleted is not found, and its name is not free; what is erased leaves nothing."""
        store = RecordedEvaluators(database)
        await store.create("acme", "quality", "", SPEC)
        assert await store.delete("acme", "quality", erase=False)
        assert await store.find("acme", "quality", 1) is None
        assert await store.page("acme", "", 10) == []
        assert not await store.delete("acme", "quality", erase=False)
        with pytest.raises(RequestError, match="quality exists"):
            await store.create("acme", "quality", "", SPEC)
        assert await store.delete("acme", "quality", erase=True)
        await store.create("acme", "quality", "", SPEC)

    async def test_pages_are_newest_first(self, database: Database):
        """A page starts after the id of the last entry before it, and shows newest versions."""
        store = RecordedEvaluators(database)
        for name in "abc":
            await store.create("acme", name, "", SPEC)
            await asyncio.sleep(0.002)
        await store.add_version("acme", "a", SPEC)
        first = await store.page("acme", "", 2)
        assert [each.name for each in first] == ["c", "b"]
        rest = await store.page("acme", first[-1].id, 2)
        assert [(each.name, each.version) for each in rest] == [("a", 2)]


class TestDatasets:
    async def test_a_replacing_upload_is_the_whole_version(self, database: Database):
        """The items of a version stay what they were, whatever is uploaded later."""
        store = RecordedDatasets(database)
        empty = await store.create("acme", "faq", "questions", {"type": "object"})
        first = await upload(store, empty, item(1, "a"), item(2, "b"))
        second = await upload(store, first, item(1, "c"))
        assert (empty.version, first.version, second.version) == (0, 1, 2)
        assert (second.items, second.schema, second.description) == (
            1,
            {"type": "object"},
            "questions",
        )
        old = await store.find("acme", "faq", 1)
        assert old == first
        assert [each.id for each in await store.items(first, after=0, limit=9)] == ["a", "b"]
        assert [each.id for each in await store.items(second, after=0, limit=9)] == ["c"]

    async def test_an_appending_upload_has_the_items_before(self, database: Database):
        """An appended version has all items of the one before; pages go on after a place."""
        store = RecordedDatasets(database)
        first = await upload(store, await store.create("acme", "faq", "", None), item(1, "a"))
        second = await upload(store, first, item(1, "b", "y"), append=True)
        assert second.items == 2
        (head,) = await store.items(second, after=0, limit=1)
        (tail,) = await store.items(second, after=head.place, limit=5)
        assert (head.body, tail.body) == (b"x", b"y")
        assert await store.item("acme", tail.place) == tail
        assert await store.item("other", tail.place) is None

    async def test_an_id_stands_for_one_content(self, database: Database):
        """A repeated item is passed by, one with other content is told by its line."""
        store = RecordedDatasets(database)
        first = await upload(store, await store.create("acme", "faq", "", None), item(1, "a"))
        opened = await store.open_upload(first)
        added = await store.add_items(
            opened,
            [item(1, "a"), item(2, "a", "z"), item(3, "b"), item(4, "b"), item(5, "b", "z")],
            beside=first.uploads,
        )
        assert (added.added, added.clashes) == (1, (2, 5))
        again = await store.add_items(opened, [item(6, "b"), item(7, "b", "z")])
        assert (again.added, again.clashes) == (0, (7,))

    async def test_two_uploads_at_once_make_two_versions(self, database: Database):
        """Replacing uploads do not mix; an appending one is refused after another version."""
        store = RecordedDatasets(database)
        empty = await store.create("acme", "faq", "", None)
        one, two, three = [await store.open_upload(empty) for _ in range(3)]
        await store.add_items(one, [item(1, "a")])
        await store.add_items(two, [item(1, "b")])
        second = await store.publish(two, append=False)
        third = await store.publish(one, append=False)
        assert (second.version, third.version) == (1, 2)
        assert [each.id for each in await store.items(third, after=0, limit=9)] == ["a"]
        with pytest.raises(RequestError, match="Version 2 was made meanwhile"):
            await store.publish(three, append=True)

    async def test_items_are_filtered(self, database: Database):
        """Splits, groups and members of the metadata choose items."""
        store = RecordedDatasets(database)
        version = await upload(
            store,
            await store.create("acme", "faq", "", None),
            item(1, "a", split="test", group="g", metadata={"lang": "de", "n": 1, "ok": True}),
            item(2, "b", split="test", metadata={"lang": "en", "n": 2, "ok": False}),
            item(3, "c", metadata={"lang": "de' OR 1=1 --", "city": "Köln"}),
        )

        async def ids(**wanted) -> str:
            found = await store.items(version, after=0, limit=9, wanted=ItemFilter(**wanted))
            return "".join(each.id for each in found)

        assert await ids() == "abc"
        assert await ids(split="test") == "ab"
        assert await ids(split="test", group="g") == "a"
        assert await ids(metadata={"lang": "de"}) == "a"
        assert await ids(metadata={"n": 2}) == "b"
        assert await ids(metadata={"lang": 2}) == ""
        assert await ids(metadata={"n": "2"}) == ""
        assert await ids(metadata={"city": "Köln"}) == "c"
        assert await ids(metadata={"ok": True}) == "a"
        assert await ids(metadata={"lang": "de' OR 1=1 --"}) == "c"
        assert await ids(metadata={"x') --": "de"}) == ""

    async def test_items_are_filtered_by_equal_numbers(self, database: Database):
        """However a number is written, on each database."""
        store = RecordedDatasets(database)
        written = [1, 1.0, True, 0.1 + 0.2, 1e16, 1_764_135_487_123_456_789, 1e300]
        items = [item(line, str(line), metadata={"n": value}) for line, value in enumerate(written)]
        version = await upload(store, await store.create("acme", "faq", "", None), *items)

        async def ids(value) -> str:
            wanted = ItemFilter(metadata={"n": value})
            found = await store.items(version, after=0, limit=9, wanted=wanted)
            return "".join(each.id for each in found)

        assert await ids(1) == await ids(1.0) == await ids(True) == "012"
        assert await ids(0.1 + 0.2) == "3"
        assert await ids(10**16) == "4"
        assert await ids(1_764_135_487_123_456_789) == "5"
        assert await ids(1e300) == "6"

    async def test_erasing_removes_content_that_nothing_else_has(self, database: Database):
        """Content that another dataset has as well stays; the rest is gone from the table."""
        store = RecordedDatasets(database)
        one = await upload(
            store, await store.create("acme", "one", "", None), item(1, "a"), item(2, "b", "alone")
        )
        two = await upload(store, await store.create("acme", "two", "", None), item(1, "c"))
        (_, alone) = await store.items(one, after=0, limit=9)
        assert await store.delete("acme", "one", erase=True)
        assert await store.item("acme", alone.place) is None
        assert [each.body for each in await store.items(two, after=0, limit=9)] == [b"x"]
        async with database.reading() as connection:
            left = (await connection.exec_driver_sql("SELECT body FROM bodies")).all()
        assert [bytes(row.body) for row in left] == [b"x"]

    async def test_a_discarded_upload_leaves_nothing(self, database: Database):
        """A published upload cannot be discarded."""
        store = RecordedDatasets(database)
        first = await upload(store, await store.create("acme", "faq", "", None), item(1, "a"))
        opened = await store.open_upload(first)
        await store.add_items(opened, [item(1, "b", "gone")])
        await store.discard(opened)
        await store.discard(first.uploads[0])
        async with database.reading() as connection:
            left = (await connection.exec_driver_sql("SELECT body FROM bodies")).all()
        assert [bytes(row.body) for row in left] == [b"x"]
        with pytest.raises(RequestError, match="deleted while"):
            await store.publish(opened, append=False)

    async def test_a_dataset_deleted_while_items_are_uploaded(self, database: Database):
        """The upload ends with a conflict, not with a dataset that comes back."""
        store = RecordedDatasets(database)
        opened = await store.open_upload(await store.create("acme", "faq", "", None))
        await store.delete("acme", "faq", erase=False)
        with pytest.raises(RequestError, match="deleted while"):
            await store.publish(opened, append=False)


class TestPurge:
    async def test_what_was_deleted_a_while_ago_goes(self, database: Database):
        """After 30 days a deleted name is free, and its content gone; what is younger, or not
        deleted, stays."""
        evaluators, datasets = RecordedEvaluators(database), RecordedDatasets(database)
        for name in ("old", "kept"):
            await evaluators.create("acme", name, "", SPEC)
            made = await datasets.create("acme", name, "", None)
            await upload(datasets, made, item(1, "a", name))
        for store in (evaluators, datasets):
            await store.delete("acme", "old", erase=False)
        await purge(database, now_ms() + RESERVED_MS - 60_000)
        with pytest.raises(RequestError):
            await evaluators.create("acme", "old", "", SPEC)
        await purge(database, now_ms() + RESERVED_MS + 60_000)
        await evaluators.create("acme", "old", "", SPEC)
        await datasets.create("acme", "old", "", None)
        assert await bodies_of(database) == [b"kept"]
        assert (await evaluators.find("acme", "kept")) is not None

    async def test_abandoned_uploads_go(self, database: Database):
        """An upload that was published by nobody for a day is removed, in steps; a younger one is
        not."""
        store = RecordedDatasets(database)
        version = await upload(
            store, await store.create("acme", "faq", "", None), item(1, "a", "kept")
        )
        opened = await store.open_upload(version)
        for start in range(0, 2 * REMOVED_AT_ONCE + 1, 300):
            rows = [item(n, f"i{n}", f"gone {n}") for n in range(start, start + 300)]
            await store.add_items(opened, rows)
        await purge(database, now_ms() + ABANDONED_MS - 60_000)
        assert len(await bodies_of(database)) == 1_201
        await purge(database, now_ms() + ABANDONED_MS + 60_000)
        assert await bodies_of(database) == [b"kept"]
        with pytest.raises(RequestError, match="deleted while"):
            await store.publish(opened, append=False)
        assert (await store.find("acme", "faq")) == version

    async def test_content_that_is_added_while_it_is_removed_stays(self, database: Database):
        """While uploads with the same content come and go, every published item has its content."""
        store = RecordedDatasets(database)
        version = await store.create("acme", "faq", "", None)

        async def come(number: int) -> int:
            opened = await store.open_upload(version)
            await store.add_items(opened, [item(n, f"{n}", f"same {n}") for n in range(20)])
            if number % 2:
                await store.discard(opened)
                return 0
            published = await store.publish(opened, append=False)
            return len(await store.items(published, after=0, limit=50))

        for _ in range(5):
            counts = await asyncio.gather(*(come(number) for number in range(8)))
            assert counts == [20, 0] * 4


async def bodies_of(database: Database) -> list[bytes]:
    async with database.reading() as connection:
        found = (await connection.exec_driver_sql("SELECT body FROM bodies ORDER BY body")).all()
    return [bytes(row.body) for row in found]


async def test_an_unreachable_database_is_told(tmp_path):
    """Nothing listens: the error is the one for records, and names no address."""
    closed = Database("postgresql+asyncpg://assay:secret@127.0.0.1:9/records", embedded=False)
    with pytest.raises(RecordsUnavailable) as error:
        await RecordedEvaluators(closed).find("acme", "quality")
    assert "127.0.0.1" not in error.value.message
    assert "secret" not in repr(closed)
    await closed.aclose()


async def test_what_is_in_use_is_closed_as_soon_as_it_is_given_back(database: Database):
    """A process that stops may be in the middle of a use, which ends, or is cancelled."""
    for ends_itself in (True, False):
        using, goes_on = asyncio.Event(), asyncio.Event()

        async def use(using=using, goes_on=goes_on) -> None:
            async with database.reading() as connection:
                await connection.execute(text("SELECT 1"))
                using.set()
                await goes_on.wait()

        user = asyncio.create_task(use())
        await using.wait()
        closing = asyncio.create_task(database.aclose())
        await asyncio.sleep(0.05)
        assert not closing.done()
        goes_on.set() if ends_itself else user.cancel()
        await asyncio.gather(user, return_exceptions=True)
        await closing
        gc.collect()  # a connection that nobody closed says so as it is collected
