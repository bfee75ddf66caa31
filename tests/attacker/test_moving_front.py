"""The front of a round on its way: where it begins and ends, how clients stray from it, what leaves through it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from splitfed import defenses
from splitfed.attacker.moving_front import MovingFront, as_in_training, between, strayed
from splitfed.models.front import Front, FrontSpec
from splitfed.seeding import generator
from splitfed.types import Images, ImageShape

SHAPE = ImageShape(1, 8, 8)
WIDTH = 12
PIXELS = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(0))
OWN = Images(PIXELS, torch.zeros(40, dtype=torch.int64), ("only",))


def front(seed: int, defense: str = "none") -> Front:
    return defenses.build(defense, {}).build_front(FrontSpec(SHAPE, WIDTH), torch.Generator().manual_seed(seed))


def moved(share: float, defense: str = "none") -> Front:
    before, after = (front(seed, defense).state_dict() for seed in (1, 2))
    return as_in_training(front(0, defense), between(before, after, share))


@pytest.mark.parametrize("defense", ["none", "sca", "mid"])
def test_the_way_begins_and_ends_at_the_broadcasts(defense: str) -> None:
    for share, seed in ((0.0, 1), (1.0, 2)):
        made, wanted = moved(share, defense).state_dict(), front(seed, defense).state_dict()
        for name, value in wanted.items():
            torch.testing.assert_close(made[name], value)


def test_atoms_between_two_dictionaries_have_unit_norm() -> None:
    atoms = [value for name, value in moved(0.5, "sca").state_dict().items() if name.endswith("dictionary")]
    assert atoms
    for dictionary in atoms:
        torch.testing.assert_close(dictionary.flatten(1).norm(dim=1), torch.ones(len(dictionary)))


def test_batch_norm_takes_the_statistics_of_its_batch_and_keeps_none() -> None:
    front_in_training = moved(0.5, "sca")
    state = {name: value.clone() for name, value in front_in_training.state_dict().items()}
    with torch.no_grad():
        alone, together = front_in_training(PIXELS[:4]), front_in_training(PIXELS)[:4]
    assert not torch.allclose(alone, together)
    assert all(torch.equal(value, state[name]) for name, value in front_in_training.state_dict().items())


def test_clients_have_not_strayed_at_the_beginning_and_have_in_the_end() -> None:
    before, after = front(1).state_dict(), front(2).state_dict()

    def away(share: float, seed: int = 0) -> Tensor:
        state = strayed(front(0), before, after, share, torch.Generator().manual_seed(seed))
        return torch.cat([(state[n] - v).flatten() for n, v in between(before, after, share).items()])

    assert float(away(0.0).abs().max()) == 0
    assert 0 < float(away(0.25).norm()) < float(away(1.0).norm())
    assert not torch.equal(away(1.0), away(1.0, seed=1))


def test_what_stands_still_does_not_stray() -> None:
    state = front(1).state_dict()
    here = strayed(front(0), state, state, 1.0, torch.Generator().manual_seed(0))
    assert all(torch.equal(here[name], value) for name, value in state.items())


@torch.no_grad()
def test_each_image_goes_through_one_of_the_fronts() -> None:
    fronts = [moved(0.0), moved(1.0)]
    sent = MovingFront(fronts, defenses.build("none", {}))(PIXELS, generator(0, "lots"))
    through = torch.stack([(sent == each(PIXELS)).all(dim=1) for each in fronts])
    assert bool(through.any(dim=0).all())
    assert bool(through.any(dim=1).all())


@torch.no_grad()
@pytest.mark.parametrize(("always", "clean"), [(False, True), (True, False)])
def test_a_defense_acts_in_training_as_it_says(always: bool, clean: bool) -> None:
    defense = defenses.build("gaussian", {"always": always})
    moving = MovingFront([moved(0.5)], defense)
    assert torch.equal(moving(PIXELS, generator(0, "lots")), moved(0.5)(PIXELS)) == clean
    knowledge = moving.knowledge(OWN, labels_in_clear=True)
    assert (knowledge.channel(PIXELS) is None) == clean
    assert knowledge.randomized  # by the way that the front goes, whatever the defense
