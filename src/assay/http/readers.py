"""Places for responses that take as long as their readers do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from assay.domain.tenants import TenantLimited
from assay.http.problems import Problem, ProblemError

PLACES_MAX = 512
"""In one process; a page of results takes up to 8 MB of memory until it is read."""
PLACES_PER_TENANT_MAX = 64


class ReaderPlaces:
    """Counts event streams, downloads and pages, so that no tenant's readers take all places."""

    def __init__(self, most: int = PLACES_MAX, per_tenant: int = PLACES_PER_TENANT_MAX) -> None:
        self._most = most
        self._per_tenant = per_tenant
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, tenant: str) -> Iterator[None]:
        """A place until the block ends; raises `TenantLimited` and `ProblemError`."""
        if self._held[tenant] >= self._per_tenant:
            raise TenantLimited("open-streams", self._per_tenant)
        if self._held.total() >= self._most:
            detail = "Too many results and events are being read. Retry later."
            raise ProblemError(Problem("overloaded", detail))
        self._held[tenant] += 1
        try:
            yield
        finally:
            self._held[tenant] -= 1
            if not self._held[tenant]:
                del self._held[tenant]
