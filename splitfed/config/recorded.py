"""The scenario that a run was started with, from its manifest."""

from __future__ import annotations

from pydantic import ValidationError

from splitfed.config.scenario import Scenario
from splitfed.errors import UserError
from splitfed.options import explain
from splitfed.records.record import RESTORE
from splitfed.records.store import MANIFEST, RunStore


def recorded_scenario(run: RunStore) -> Scenario:
    """The settings of this run.

    Raises:
        UserError: its manifest is damaged, or of another version of splitfed.
    """
    source = run.path / MANIFEST
    try:
        return Scenario.model_validate(run.manifest.scenario)
    except ValidationError as error:
        said = explain(error, Scenario, str(source))
        raise UserError(f"{said}\n{source} is damaged or of another version of splitfed; {RESTORE}") from None
