"""The composition root: the only place where the parts of the service meet."""

from assay.bootstrap.process import start_logging
from assay.bootstrap.service import open_local, open_service, run_service
from assay.bootstrap.worker import run_worker
from assay.redis.embedded import EmbeddedError

__all__ = [
    "EmbeddedError",
    "open_local",
    "open_service",
    "run_service",
    "run_worker",
    "start_logging",
]
