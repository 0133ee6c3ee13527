"""Fills the wheel's dependencies from the one place that lists them, requirements/*.in."""

from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

EXTRAS = {
    "server": ("runtime", "embedded"),
    "azure": ("azure",),
    "bedrock": ("bedrock",),
    "otel": ("otel",),
    "vertex": ("vertex",),
}
"""The base is the client alone; each extra is made of some of the lists."""


class RuntimeRequirements(MetadataHookInterface):
    def update(self, metadata: dict[str, object]) -> None:
        metadata["dependencies"] = self._read("client")
        metadata["optional-dependencies"] = {
            extra: [line for name in names for line in self._read(name)]
            for extra, names in EXTRAS.items()
        }

    def _read(self, name: str) -> list[str]:
        lines = (Path(self.root) / "requirements" / f"{name}.in").read_text().splitlines()
        return [line.partition(" #")[0] for line in lines if line and line[0] not in "#-"]
