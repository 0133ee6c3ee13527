"""The command line: one module per command, which registers itself on `app`."""

import sys
from importlib import import_module

from assay.cli.app import add_missing, app

COMMANDS = (
    *("serve", "worker", "evaluate", "batch", "keys", "migrate", "models", "export", "import"),
    *("probe", "calibrate", "labels", "compare", "demo"),
)
MODULES = {"export": "records", "import": "records", "labels": "calibrate"}
"""Of commands that share one."""


def main() -> None:
    """Entry point of `assay`."""
    # Load only the called command: a health check every few seconds must not load the service.
    called = [name for name in COMMANDS if name in sys.argv[1:2]]
    for name in called or COMMANDS:
        try:
            import_module(f"assay.cli.{MODULES.get(name, name)}")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("assay"):
                raise
            add_missing(name)
    app()
