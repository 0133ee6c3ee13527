"""Fills the wheel's dependencies from the one place that lists them, requirements/runtime.in."""

from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RuntimeRequirements(MetadataHookInterface):
    def update(self, metadata: dict[str, object]) -> None:
        lines = (Path(self.root) / "requirements" / "runtime.in").read_text().splitlines()
        metadata["dependencies"] = [
            line.partition(" #")[0] for line in lines if line and line[0] not in "#-"
        ]
