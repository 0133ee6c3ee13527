"""Small documents, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio

from assay.domain.ids import new_id
from assay.domain.records import StoredObject
from assay.records.objects import RecordedObjects


async def added(store, count, kind="eval", parent="", tenant="acme"):
    ids = []
    for number in range(count):
        new = StoredObject(new_id(kind), kind, {"number": number}, parent)
        ids.append((await store.add(tenant, new)).id)
    return sorted(ids)


async def page(store, tenant="acme", kind="eval", parent="", **query):
    defaults = {"after": "", "limit": 100, "descending": False, "by_update": False}
    found = await store.page(tenant, kind, parent, **{**defaults, **query})
    return [one.id for one in found]


async def test_an_object_is_found_changed_and_deleted(database):
    """Only by its own tenant, as its own kind, and below its own parent."""
    store = RecordedObjects(database)
    [id_] = await added(store, 1)
    found = await store.find("acme", "eval", id_)
    assert (found.document, found.parent, found.kind) == ({"number": 0}, "", "eval")
    assert found.created_ms == found.updated_ms > 0
    for tenant, kind, parent in (
        ("other", "eval", ""),
        ("acme", "file", ""),
        ("acme", "eval", "x"),
    ):
        assert await store.find(tenant, kind, id_, parent) is None
    assert await store.change("other", id_, {}) is None
    changed = await store.change("acme", id_, {"a": [1, "ü"]}, updates=False)
    assert (changed.document, changed.updated_ms) == ({"a": [1, "ü"]}, found.updated_ms)
    children = await added(store, 2, "run", id_)
    assert not await store.delete("other", "eval", id_)
    assert await page(store, kind="run", parent=id_) == children
    assert await store.delete("acme", "eval", id_)
    assert not await store.delete("acme", "eval", id_)
    assert await page(store, kind="run", parent=id_) == []


async def test_pages_follow_each_other_in_both_orders(database):
    """By age or by the last change, without a gap and without a repetition."""
    store = RecordedObjects(database)
    ids = await added(store, 7)
    await added(store, 2, tenant="other")
    await added(store, 2, parent="another")
    await asyncio.sleep(0.002)
    await store.change("acme", ids[2], {})
    by_update = [id_ for id_ in ids if id_ != ids[2]] + [ids[2]]
    for expected, query in (
        (ids, {}),
        (ids[::-1], {"descending": True}),
        (by_update, {"by_update": True}),
        (by_update[::-1], {"by_update": True, "descending": True}),
    ):
        seen = []
        while found := await page(store, after=seen[-1] if seen else "", limit=2, **query):
            seen += found
        assert seen == expected


async def test_a_page_follows_one_whose_last_object_was_deleted(database):
    """A caller who deletes all that a list shows, page by page, leaves nothing."""
    for by_update in (False, True):
        for descending in (False, True):
            store = RecordedObjects(database)
            left = set(await added(store, 5))
            after = ""
            while ids := await page(
                store, after=after, limit=2, descending=descending, by_update=by_update
            ):
                for after in ids:
                    assert await store.delete("acme", "eval", after)
                left -= set(ids)
            assert left == set()


async def test_no_record_has_an_id_with_a_nul(database):
    """It is not found, like any other id that nothing has."""
    store = RecordedObjects(database)
    assert await store.find("acme", "eval", "\0", "\0") is None
    assert await store.change("acme", "\0", {}) is None
    assert not await store.delete("acme", "eval", "\0")
    for by_update in (False, True):
        assert await page(store, after="\0", by_update=by_update) == []
