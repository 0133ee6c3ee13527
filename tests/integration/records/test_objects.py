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


async def test_an_id_with_a_nul_is_unknown(database):
    """PostgreSQL refuses such a text; here it is an id like any other that nothing has."""
    store = RecordedObjects(database)
    [id_] = await added(store, 1)
    assert await store.find("acme", "eval", "a\0b") is None
    assert await store.find("acme", "eval", id_, "a\0b") is None
    assert not await store.delete("acme", "eval", "a\0b")
    assert await page(store, after="a\0b") == [id_]


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


async def test_objects_of_all_tenants(database):
    """In the order of their ids, page by page, and of one kind alone."""
    store = RecordedObjects(database)
    ids = sorted(
        [*await added(store, 2, "control"), *await added(store, 2, "control", tenant="other")]
    )
    await added(store, 1, "controls")
    await added(store, 1, "contra")
    seen = []
    while found := await store.of_all("control", seen[-1] if seen else "", 3):
        seen += [one.id for _, one in found]
        assert {tenant for tenant, _ in found} <= {"acme", "other"}
    assert seen == ids


async def test_a_change_with_a_token(database):
    """Of two that know the same token one is made; an object with the same id takes its place."""
    store = RecordedObjects(database)
    new = StoredObject(new_id("control"), "control", {"token": "a", "n": 1})
    await store.add("acme", new)
    changes = [store.change("acme", new.id, {"token": t, "n": 2}, token="a") for t in "bc"]
    made = await asyncio.gather(*changes)
    assert sum(one is not None for one in made) == 1
    assert await store.change("acme", new.id, {}, token="a") is None
    again = await store.add("acme", StoredObject(new.id, "control", {"token": "d"}))
    assert (
        (await store.find("acme", "control", new.id)).document == again.document == {"token": "d"}
    )


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
