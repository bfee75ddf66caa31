"""Variants of split learning that do not go together are refused, with the way out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from splitfed.config.scenario import Scenario
from splitfed.errors import ScenarioError

ScenarioOf = Callable[..., Scenario]
U_SHAPED = {"labels": "client"}


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (
            {"federation": {**U_SHAPED, "variant": "sflv2"}},
            r'federation\.labels = "client" does not go with variant = "sflv2": .* use variant = "sflv1"',
        ),
        (
            {"federation": U_SHAPED, "threat": "end_to_end"},
            r'leaves the server no layer: .*none with threat = "end_to_end" and model\.hidden_layers = 1',
        ),
        ({"federation": U_SHAPED, "model": {"hidden_layers": 0}}, r"none with .* model\.hidden_layers = 0"),
        (
            {"federation": U_SHAPED, "defense": [{"name": "dpsgd"}]},
            r"three parts, and defense 'dpsgd' bounds each sample's gradient in two, front and back; use labels",
        ),
        (
            {"federation": U_SHAPED, "defense": [{"name": "stack", "layers": [{"name": "dpsgd"}]}]},
            r"bounds each sample's gradient in two",
        ),
        ({"federation": {"variant": "sflv3"}}, r"federation\.variant"),
        ({"federation": {"labels": "nobody"}}, r"federation\.labels"),
    ],
)
def test_what_does_not_go_together_is_refused(tables: dict[str, object], says: str, scenario_of: ScenarioOf) -> None:
    with pytest.raises(ScenarioError, match=says):
        scenario_of(**tables)


def test_features_must_fit_into_a_frame_too(scenario_of: ScenarioOf) -> None:
    """The defense releases few numbers; what the server's layers make of them is as wide as the layers."""
    wide = {"model": {"width": 700_000}, "defense": [{"name": "sca_noise"}]}
    scenario_of(**wide)
    with pytest.raises(ScenarioError, match=r"700,000 numbers each, as the server's layers answer"):
        scenario_of(**wide, federation=U_SHAPED)


def test_each_variant_is_a_scenario(scenario_of: ScenarioOf) -> None:
    assert scenario_of().federation.variant == "sflv1"
    assert scenario_of().federation.labels == "server"
    scenario_of(federation={"variant": "sflv2"}, threat="end_to_end")
    scenario_of(federation=U_SHAPED, model={"hidden_layers": 2})
