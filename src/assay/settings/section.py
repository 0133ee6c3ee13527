"""What every section of the configuration has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Unknown keys are errors; values do not change after start-up."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
