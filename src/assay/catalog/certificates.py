"""Certificates of cascades, kept beside the evaluators that they are for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from assay.catalog.stores import Stores
from assay.domain.cascade import CascadeCertificate, Thresholds
from assay.domain.evaluation import NamedVersion
from assay.domain.ids import new_id
from assay.domain.records import EvaluatorVersion, StoredObject

CERTIFICATE, ATTEMPT = "certificate", "attempt"
SEARCHED_MAX = 100
"""Among this many certificates of an evaluator, the newest ones, that of a version is searched."""


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate for a version of an evaluator, as JSON.

    `criteria` has for each name its `thresholds`, as `thresholds_to_json` writes them, and what was
    shown with them, such as `alpha` and `delta`. `issued` says when and from what.
    """

    version: int
    revision: str
    criteria: Mapping[str, Mapping[str, Any]]
    issued: Mapping[str, Any] = field(default_factory=dict)

    def for_engine(self) -> CascadeCertificate:
        """What evaluations need of it."""
        thresholds = {
            name: thresholds_from_json(one["thresholds"]) for name, one in self.criteria.items()
        }
        return CascadeCertificate(self.revision, thresholds)


async def save_certificate(
    stores: Stores, tenant: str, evaluator_id: str, certificate: StoredCertificate
) -> StoredObject:
    """Keep it as the newest one of its version; raises `RecordsUnavailable`."""
    document = asdict(certificate)
    new = StoredObject(new_id(CERTIFICATE), CERTIFICATE, document, evaluator_id)
    return await stores.objects.add(tenant, new)


async def count_attempt(stores: Stores, tenant: str, tried: str) -> int:
    """How often a certificate was asked for on the labels of `tried`, with this time.

    Each time is an object of its own, so that it counts even if its report is deleted.
    """
    await stores.objects.add(tenant, StoredObject(new_id(ATTEMPT), ATTEMPT, {}, tried))
    after, count, more = "", 0, True
    while more:
        page = await stores.objects.page(
            tenant, ATTEMPT, tried, after=after, limit=SEARCHED_MAX,
            descending=False, by_update=False,
        )  # fmt: skip
        count += len(page)
        more, after = len(page) == SEARCHED_MAX, page[-1].id if page else ""
    return count


async def newest_certificate(
    stores: Stores, tenant: str, evaluator: EvaluatorVersion
) -> StoredCertificate | None:
    """The newest certificate of the version; raises `RecordsUnavailable`."""
    found = await stores.objects.page(tenant, CERTIFICATE, evaluator.id, limit=SEARCHED_MAX)
    stored = (StoredCertificate(**one.document) for one in found)
    return next((one for one in stored if one.version == evaluator.version), None)


async def with_newest_certificate(
    stores: Stores, tenant: str, evaluator: EvaluatorVersion, judge: object
) -> NamedVersion:
    """The version's name, with its certificate where the JSON of its `judge` has a cascade."""
    certificate = None
    if isinstance(judge, Mapping) and judge.get("cascade") is not None:
        stored = await newest_certificate(stores, tenant, evaluator)
        certificate = None if stored is None else stored.for_engine()
    return NamedVersion(evaluator.name, evaluator.version, certificate)


def named_to_json(named: NamedVersion | None) -> list[Any] | None:
    """What `named_from_json` reads."""
    if named is None:
        return None
    certificate = named.certificate
    if certificate is None:
        return [named.name, named.version, None]
    thresholds = {name: thresholds_to_json(one) for name, one in certificate.thresholds.items()}
    return [named.name, named.version, {"revision": certificate.revision, "thresholds": thresholds}]


def named_from_json(stored: Sequence[Any] | None) -> NamedVersion | None:
    """A named version with its certificate, which older batches do not have."""
    if not stored:
        return None
    name, version, *rest = stored
    if not any(rest):
        return NamedVersion(name, version)
    thresholds = {
        criterion: thresholds_from_json(one) for criterion, one in rest[0]["thresholds"].items()
    }
    return NamedVersion(name, version, CascadeCertificate(rest[0]["revision"], thresholds))


def thresholds_to_json(thresholds: Thresholds) -> list[float | None]:
    """JSON has no infinity: null stands for a tier that is not asked."""
    return [one if math.isfinite(one) else None for one in thresholds]


def thresholds_from_json(thresholds: Sequence[float | None]) -> Thresholds:
    """See `thresholds_to_json`."""
    return tuple(math.inf if one is None else one for one in thresholds)
