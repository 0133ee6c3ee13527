"""The command line: one module per command, which registers itself on `app` once it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer.main
from typer.core import TyperCommand, TyperGroup

from assay.cli.app import add_missing, app

SCORE, KEEP, SERVICE = "Score", "Keep and compare", "Run and mend"
COMMANDS = {
    "evaluate": (SCORE, "Score each row of a file, and use the result as a gate."),
    "batch": (SCORE, "Score the rows of a file as one batch, which outlasts this process."),
    "compare": (SCORE, "Compare the batch or file CANDIDATE to BASE, item by item."),
    "calibrate": (SCORE, "Say how far the judge of a batch agrees with the labels of its cases."),
    "evaluators": (KEEP, "Criteria with a judge, a name and versions."),
    "datasets": (KEEP, "Cases with a name and versions."),
    "labels": (KEEP, "What people say of cases."),
    "import": (KEEP, "Bring records from an export, or from another tool."),
    "export": (KEEP, "Write all records of a tenant as JSON Lines."),
    "serve": (SERVICE, "Run the service until SIGTERM or Ctrl-C."),
    "worker": (SERVICE, "Work on rows of batches until SIGTERM or Ctrl-C."),
    "demo": (SERVICE, "Fill a service that was started with `assay serve --demo`."),
    "models": (SERVICE, "List the configured models, and check each with one small call."),
    "keys": (SERVICE, "API keys of tenants."),
    "migrate": (SERVICE, "Bring the schema of the records up to date."),
    "doctor": (SERVICE, "Say what is wrong with an installation or a service, and how to mend it."),
    "probe": (SERVICE, "Exit with 0 if the service is ready: a health check for containers."),
}
"""Of each command, where the help lists it and what it says there: to list, nothing is loaded."""
MODULES = {"export": "records", "import": "records", "labels": "calibrate"} | dict.fromkeys(
    ("evaluators", "datasets"), "stored"
)
"""Of commands whose module has another name."""


class Commands(TyperGroup):
    """All commands by their names; only the called one is loaded.

    A health check every few seconds must not load the service, and neither must `--help`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        listed = {
            name: TyperCommand(name, help=summary, rich_help_panel=panel)
            for name, (panel, summary) in COMMANDS.items()
        }
        self.commands = {**listed, **self.commands}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS:
            load(args[0])
            self.commands = typer.main.get_group(app).commands
        return super().resolve_command(ctx, args)


app.info.cls = Commands


def load(name: str) -> None:
    """Register a command; without the packages that it needs, one that says which to install."""
    try:
        import_module(f"assay.cli.{MODULES.get(name, name)}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("assay"):
            raise
        add_missing(name)


def main() -> None:
    """Entry point of `assay`."""
    app()
