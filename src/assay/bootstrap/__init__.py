"""The composition root: the only place where the parts of the service meet."""

from assay.bootstrap.service import open_local, open_service, run_service, start_logging
from assay.bootstrap.worker import NoSharedRedis, run_worker
from assay.redis.embedded import EmbeddedError

__all__ = [
    "EmbeddedError",
    "NoSharedRedis",
    "open_local",
    "open_service",
    "run_service",
    "run_worker",
    "start_logging",
]
