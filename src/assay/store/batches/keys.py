"""The Redis keys of batches. Those of one batch share a hash tag, so that scripts have one slot."""

from __future__ import annotations

import hashlib

RESULTS_PER_KEY = 500
DEFERRED = "assay:v1:batches:deferred"
"""Set of the batches that have calls in jobs or put down for them."""
ACTIVE = "assay:v1:batches:active"
"""Sorted set of the batches that workers look at, by the time of their start."""


class BatchKeys:
    """The keys of one batch."""

    def __init__(self, batch_id: str) -> None:
        self._prefix = f"assay:v1:batch:{{{batch_id}}}:"
        self.meta = self._prefix + "meta"
        """Hash: tenant, status, times, counts."""
        self.request = self._prefix + "request"
        self.webhook = self._prefix + "webhook"
        self.queue = self._prefix + "queue"
        """Stream of rows to do: `i` index, `k` key, `a` attempts before."""
        self.later = self._prefix + "later"
        """Sorted set of rows to do at a time: members `index:key:attempt`."""
        self.done = self._prefix + "done"
        """Bitmap of the indexes that have a result."""
        self.ids = self._prefix + "ids"
        """Hash: row key to `index:digest of content`."""
        self.bad = self._prefix + "bad"
        self.tally = self._prefix + "tally"
        self.groups = self._prefix + "groups"
        self.stalls = self._prefix + "stalls"
        """Hash: row key to how many processes were ended with the row in hand."""
        self.order = self._prefix + "order"
        """Sorted set of row keys in random order, if the batch may stop early."""
        self.waiting = self._prefix + "waiting"
        """Hash: place in this order to the scores of a finished row that is not decided on."""
        self.rules = self._prefix + "rules"
        """State of the stopping rules."""
        self.parked = self._prefix + "parked"
        """Hash: `index:key:attempt` of a row that waits for calls to how many there are."""
        self.calls = self._prefix + "calls"
        """Set of `row key:call key` of the calls that were put down for jobs."""
        self.outboxes = self._prefix + "outboxes"
        """Hash: model to the time of its oldest call that no job has."""
        self.jobs = self._prefix + "jobs"
        """Hash: token to a job. It outlives the batch, since the provider's job does."""
        self.work = [self.queue, self.later, self.order, self.waiting, self.rules, self.parked]
        """What a batch that has ended does not need."""

    def row(self, key: str) -> str:
        """The content of one row, until it has a result."""
        return f"{self._prefix}row:{key}"

    def call(self, key: str) -> str:
        """Hash of one call: `s` state, `d` details, `b` request, `w` row that waits, `a` answer."""
        return f"{self._prefix}call:{key}"

    def outbox(self, model: str) -> str:
        """List of `key:size` of the calls to a model that no job has."""
        return f"{self._prefix}outbox:{model}"

    def job(self, token: str) -> str:
        """List of the keys of a job's calls."""
        return f"{self._prefix}job:{token}"

    def results(self, index: int) -> str:
        """The hash that holds the result of row `index`."""
        return f"{self._prefix}results:{index // RESULTS_PER_KEY}"

    def everything(self, total: int) -> list[str]:
        """All keys but those of rows."""
        fixed = [self.meta, self.request, self.webhook, *self.work, self.done]
        fixed += [self.ids, self.bad, self.tally, self.groups, self.stalls, self.calls]
        return fixed + [self.results(index) for index in range(0, total, RESULTS_PER_KEY)]


def tenant_index(tenant: str) -> str:
    """The sorted set of a tenant's batches, by creation."""
    return f"assay:v1:{{{tenant}}}:batches"


def row_key(item_id: str) -> str:
    """The name of a row in keys: a hash of the caller's own id."""
    return hashlib.blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def content_digest(document: bytes) -> str:
    return hashlib.blake2b(document, digest_size=8).hexdigest()
