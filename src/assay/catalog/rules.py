"""Rules: which live traffic is judged, by which evaluator, and how much of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from assay.catalog.stores import OpenStores, Stores
from assay.domain.errors import RequestError
from assay.domain.filters import Filter
from assay.domain.ids import random_hex
from assay.domain.records import RecordsUnavailable, StoredObject
from assay.domain.traces import GroupBy

RULE = "rule"
"""The kind of what is stored."""
RULES_MAX = 50
"""Of one tenant: each is looked at for every span."""
READ_AT_ONCE = 200
FRESH_S = 5.0
"""After a change, other processes go on with the earlier rules for so long."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, as JSON; a `token` is another one after each change.

    `alert` has the gate (`criterion`, `min_score` or `min_pass_rate`) and the `webhook`.
    """

    name: str
    evaluator: str
    filter: str = ""
    sample_rate: float = 1.0
    per_minute: int = 60
    usd_per_day: float = 10.0
    group_by: GroupBy = "span"
    delay_s: float = 0.0
    enabled: bool = True
    alert: Mapping[str, Any] | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class KnownRule:
    """A stored rule with its condition, which is None if every span of a model will do."""

    id: str
    tenant: str
    rule: Rule
    condition: Filter | None = field(repr=False)
    created_ms: int = 0

    @classmethod
    def of(cls, tenant: str, stored: StoredObject) -> KnownRule:
        """The rule in an object."""
        rule = Rule(**stored.document)
        condition = Filter.parse(rule.filter) if rule.filter else None
        return cls(stored.id, tenant, rule, condition, stored.created_ms)


class Rules:
    """The rules of all tenants, which a process reads again every few seconds."""

    def __init__(self, exist: Callable[[], bool], open_stores: OpenStores) -> None:
        self._exist = exist
        self._open_stores = open_stores
        self._reading = asyncio.Lock()
        self._known: Mapping[str, Sequence[KnownRule]] | None = None
        self._read_s = 0.0

    async def by_tenant(self) -> Mapping[str, Sequence[KnownRule]]:
        """The rules in force; while the records are unavailable, those that were known last.

        Raises `RecordsUnavailable` if none were.
        """
        async with self._reading:
            if self._known is None or time.monotonic() > self._read_s + FRESH_S:
                try:
                    self._known = await self._read()
                except RecordsUnavailable:
                    if self._known is None:
                        raise
                self._read_s = time.monotonic()
            return self._known

    def changed(self) -> None:
        """Read them again at the next use."""
        self._known = None

    async def _read(self) -> dict[str, list[KnownRule]]:
        found: dict[str, list[KnownRule]] = {}
        if not self._exist():
            return found
        objects, after = (await self._open_stores()).objects, ""
        while page := await objects.of_all(RULE, after, READ_AT_ONCE):
            for tenant, stored in page:
                found.setdefault(tenant, []).append(KnownRule.of(tenant, stored))
            after = page[-1][1].id
        return found


def rule_id(tenant: str, name: str) -> str:
    """The id of the rule with this name: a tenant has one at most."""
    digest = hashlib.blake2b(f"{tenant}\n{name}".encode(), digest_size=16).hexdigest()
    return f"{RULE}_{digest}"


async def find_rule(stores: Stores, tenant: str, name: str) -> KnownRule:
    """The tenant's rule; raises `RequestError` (`not_found`)."""
    found = await stores.objects.find(tenant, RULE, rule_id(tenant, name))
    if found is None:
        raise RequestError("not_found", "No rule has this name.")
    return KnownRule.of(tenant, found)


async def list_rules(stores: Stores, tenant: str) -> list[KnownRule]:
    """All rules of the tenant, by their names."""
    found = await stores.objects.page(tenant, RULE, limit=RULES_MAX)
    return sorted((KnownRule.of(tenant, one) for one in found), key=lambda one: one.rule.name)


async def put_rule(stores: Stores, tenant: str, rule: Rule) -> KnownRule:
    """Keep the rule in the place of one of its name; raises `RequestError` if there are too many.

    What it has judged stays where it is; a changed rule goes on with a new batch.
    """
    id_ = rule_id(tenant, rule.name)
    others = {one.id for one in await stores.objects.page(tenant, RULE, limit=RULES_MAX + 1)}
    if len(others - {id_}) >= RULES_MAX:
        raise RequestError("conflict", f"There are {RULES_MAX} rules, the most allowed.")
    document = asdict(rule) | {"token": random_hex(8)}
    return KnownRule.of(tenant, await stores.objects.add(tenant, StoredObject(id_, RULE, document)))
