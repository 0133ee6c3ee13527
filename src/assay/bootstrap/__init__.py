"""The composition root: the only place where the parts of the service meet."""

from assay.bootstrap.doctor import examine
from assay.bootstrap.from_settings import provider_config
from assay.bootstrap.process import start_logging
from assay.bootstrap.records import export_records, import_records, migrate_records
from assay.bootstrap.service import open_local, open_models, open_service, run_service
from assay.bootstrap.worker import run_worker
from assay.redis.embedded import EmbeddedError
from assay.resilience.directory import ModelLayers

__all__ = [
    "EmbeddedError",
    "ModelLayers",
    "examine",
    "export_records",
    "import_records",
    "migrate_records",
    "open_local",
    "open_models",
    "open_service",
    "provider_config",
    "run_service",
    "run_worker",
    "start_logging",
]
