"""Labels: which item they are of, and the hash of its case."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from assay.catalog.names import find_version
from assay.catalog.stores import Stores
from assay.domain.exact_json import loads
from assay.domain.records import ItemFilter

CASE_FIELDS = ("input", "reference", "context", "tools", "expected_tools")


def case_digest(document: Mapping[str, Any]) -> str:
    """The hash of a case with its output, whatever else is stored with it."""
    case = {name: document.get(name) or None for name in CASE_FIELDS}
    case["output"] = document.get("output")
    return hashlib.sha256(json.dumps(case, sort_keys=True).encode()).hexdigest()


async def item_digests(
    stores: Stores, tenant: str, wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The hash of each item of a dataset, as `name` or `name@version`, that there is."""
    by_dataset: dict[str, set[str]] = defaultdict(set)
    for reference, item_id in wanted:
        by_dataset[reference].add(item_id)
    digests: dict[tuple[str, str], str] = {}
    for reference, ids in by_dataset.items():
        version = await find_version(stores.datasets, tenant, reference, "/item/dataset")
        if version is not None:
            chosen = ItemFilter(ids=tuple(ids))
            found = await stores.datasets.items(version, after=0, limit=len(ids), wanted=chosen)
            for item in found:
                digests[reference, item.id] = case_digest(loads(item.body))
    return digests
