"""The command line: one file for each command, which registers itself on `app`."""

from assay.cli import evaluate, probe
from assay.cli.app import app

__all__ = ["app", "evaluate", "main", "probe"]


def main() -> None:
    """Entry point of `assay`."""
    app()
