"""Fills the wheel's dependencies from the one place that lists them, requirements/*.in."""

from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

EXTRAS = ("azure", "bedrock", "vertex")


class RuntimeRequirements(MetadataHookInterface):
    def update(self, metadata: dict[str, object]) -> None:
        metadata["dependencies"] = self._read("runtime")
        metadata["optional-dependencies"] = {extra: self._read(extra) for extra in EXTRAS}

    def _read(self, name: str) -> list[str]:
        lines = (Path(self.root) / "requirements" / f"{name}.in").read_text().splitlines()
        return [line.partition(" #")[0] for line in lines if line and line[0] not in "#-"]
