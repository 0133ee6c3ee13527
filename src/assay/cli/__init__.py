"""The command line: one file for each command, which registers itself on `app`."""

from assay.cli import evaluate, keys, probe, serve
from assay.cli.app import app

__all__ = ["app", "evaluate", "keys", "main", "probe", "serve"]


def main() -> None:
    """Entry point of `assay`."""
    app()
