"""How much work attacks may put in: one rule, which every attack that can stop early follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitfed.attacker.mounted import config_of
from splitfed.attacks import ATTACKS, build
from splitfed.attacks.effort import Effort, with_effort
from splitfed.config.load import load
from splitfed.types import ImageShape
from tests.attacks.worlds import SMALL, run, world

CAPPED = [name for name in SMALL if ATTACKS[name].caps]
TRAINED = {"decoder", "conv_decoder", "dictionary", "ensemble"}


def test_every_attack_with_a_limit_on_its_work_says_so() -> None:
    """All that are trained have one on their epochs; what is solved in one go has none."""
    assert {name for name in CAPPED if "max_epochs" in ATTACKS[name].caps} == TRAINED
    assert set(CAPPED) == {*TRAINED, "whitebox"}


@pytest.mark.parametrize("name", SMALL)
def test_quick_is_less_than_standard_and_full_is_more(name: str) -> None:
    kind = ATTACKS[name]
    standard, quick, full = (
        build(name, with_effort(kind, {}, effort)).options.model_dump() for effort in ("standard", "quick", "full")
    )
    assert with_effort(kind, {}, "standard") == {}
    for option in standard:
        if option in kind.caps:
            assert quick[option] < standard[option] < full[option]
        else:
            assert quick[option] == standard[option] == full[option]


@pytest.mark.parametrize("name", CAPPED)
@pytest.mark.parametrize("effort", ["quick", "full"])
def test_what_is_given_for_an_attack_itself_counts_more(name: str, effort: Effort) -> None:
    given = dict.fromkeys(ATTACKS[name].caps, 17)
    assert with_effort(ATTACKS[name], given, effort) == given


def test_a_quick_training_ends_at_its_cap_and_a_full_one_at_its_plateau() -> None:
    here, found = world(width=24, auxiliary=120), {}
    efforts: tuple[Effort, ...] = ("quick", "full")
    options = {name: value for name, value in SMALL["decoder"].items() if name != "max_epochs"}
    for effort in efforts:
        found[effort] = run(build("decoder", with_effort(ATTACKS["decoder"], options, effort)), here.knowledge)
    assert found["quick"].epochs == 12
    assert not found["quick"].plateaued
    assert found["full"].plateaued
    assert found["full"].validation_ssim >= found["quick"].validation_ssim - 0.005


def test_the_scenario_says_how_much_and_an_attack_of_its_may_say_otherwise() -> None:
    told = {}
    for effort in ("quick", "standard", "full"):
        overrides = [f'attacker.effort="{effort}"', "attack.conv_decoder.max_epochs=5"]
        scenario = load("table3", overrides=overrides)
        folder = Path("nowhere")
        config = config_of(
            scenario,
            scenario.cells()[0],
            ImageShape(1, 28, 28),
            upstream=None,
            knowledge=folder,
            observations=folder,
            out=folder,
        )
        told[effort] = {each.name: each.options for each in config.attacks}
    assert told["standard"]["decoder"] == {}
    assert told["quick"]["decoder"] == {"max_epochs": 12}
    assert told["full"]["decoder"]["max_epochs"] > 1000
    assert told["full"]["whitebox"]["most_images"] > 10**6
    for options in told.values():
        assert options["conv_decoder"] == {"max_epochs": 5}
        assert options["ridge"] == options["untrained"] == {}
