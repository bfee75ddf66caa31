"""The base of everything that a scenario can set."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A table of a scenario: unknown keys are refused, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
