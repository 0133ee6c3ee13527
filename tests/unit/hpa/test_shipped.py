"""The simulated pod is the shipped one."""

import tomllib
from pathlib import Path

from hpa.fleet import World

SETTINGS = Path(__file__).parents[3] / "deploy" / "kubernetes" / "base" / "assay.toml"


def test_the_simulated_pod_has_the_slots_of_the_shipped_settings():
    """The simulation is about the pod that is deployed."""
    models = tomllib.loads(SETTINGS.read_text())["models"]
    assert {model["slots"] for model in models.values()} == {World(load=lambda _: 0.0).slots}
