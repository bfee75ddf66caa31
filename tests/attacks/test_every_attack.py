"""What holds for every attack in the registry."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import splitfed.attacks
from splitfed.attacks import ATTACKS, Attack, build
from splitfed.attacks.base import Progress
from splitfed.attacks.decoder import Decoder, DecoderOptions
from splitfed.errors import AttackError
from splitfed.metrics import fingerprint, mean_image, psnr_db
from splitfed.metrics.gates import attack_beats_class_mean, attack_learned, victim_unchanged
from tests.attacks.worlds import SMALL, run, small, world, world_for

NAMES = sorted(SMALL)
TRAINED = [name for name in NAMES if not ATTACKS[name].is_control]


def test_the_small_options_cover_the_registry() -> None:
    assert set(SMALL) == {name for name, kind in ATTACKS.items() if kind.__module__.startswith("splitfed.")}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_images_are_in_range_and_repeat_under_a_seed(name: str, noise: float) -> None:
    here = world_for(name, noise=noise)
    observed = here.observed()
    results = []
    for _ in range(2):
        attack = small(name)
        run(attack, here.knowledge, seed=4)
        results.append(attack.reconstruct(observed))
    images = results[0]
    assert images.shape == here.victims.pixels.shape
    assert images.dtype == torch.float32
    assert 0 <= images.min() <= images.max() <= 1
    assert torch.equal(*results)


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_of_any_shape_is_taken_as_rows(name: str) -> None:
    here = world_for(name)
    observe = here.knowledge.observe
    folded = replace(here.knowledge, observe=lambda x, g: observe(x, g).view(-1, 4, 4, 4))
    attacks = [small(name), small(name)]
    run(attacks[0], here.knowledge)
    run(attacks[1], folded)
    observed = here.observed()
    assert torch.equal(attacks[0].reconstruct(observed), attacks[1].reconstruct(observed.view(-1, 4, 4, 4)))


@pytest.mark.parametrize("name", NAMES)
def test_the_front_and_the_auxiliary_images_stay_bit_identical(name: str) -> None:
    here = world_for(name, noise=0.1)
    auxiliary = fingerprint([here.knowledge.auxiliary.pixels])
    before = fingerprint(here.front.state_dict())
    attack = small(name)
    run(attack, here.knowledge)
    here.images(attack)
    assert victim_unchanged(before, fingerprint(here.front.state_dict())).passed
    assert fingerprint([here.knowledge.auxiliary.pixels]) == auxiliary
    assert all(weights.grad is None for weights in here.front.parameters())


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_trained_attack_learns_and_sees_more_than_the_class(name: str, noise: float) -> None:
    here = world_for(name, noise=noise)
    attack = small(name)
    evidence = run(attack, here.knowledge)
    assert attack_learned({name: evidence}).passed
    scored = float(psnr_db(here.images(attack), here.victims.pixels).mean())
    baselines = float(psnr_db(mean_image(here.knowledge.auxiliary, here.victims), here.victims.pixels).mean())
    gate = attack_beats_class_mean(attack_psnr_db=scored, class_mean_psnr_db=baselines, margin_db=3.0)
    assert gate.passed, gate.detail
    # validation images tell what victims will show: they come from the same distribution
    assert evidence.validation_psnr_db == pytest.approx(scored, abs=1.5)


def test_the_untrained_control_fails_every_gate_that_it_should() -> None:
    here = world()
    attack = small("untrained")
    evidence = run(attack, here.knowledge)
    assert not attack_learned({"untrained": evidence}).passed
    scored = psnr_db(here.images(attack), here.victims.pixels).mean()
    assert scored < psnr_db(mean_image(here.knowledge.auxiliary, here.victims), here.victims.pixels).mean()


class VictimTrainer(Decoder):
    """The mistake of the published evaluations: the optimizer holds the victim's weights, not the attack's."""

    def __init__(self, options: DecoderOptions, front: torch.nn.Module) -> None:
        super().__init__(options)
        self._front = front

    def advance(self) -> Progress:
        before = fingerprint(self._front.state_dict())
        for group in self._optimizer.param_groups:
            for weights in group["params"]:
                weights.requires_grad_(False)
        loss = self._front(self._begun.auxiliary.pixels).square().mean()
        loss.backward()
        torch.optim.SGD(self._front.parameters(), lr=0.1).step()
        assert fingerprint(self._front.state_dict()) != before
        self._epochs += 1
        return Progress(self._epochs, float(loss.detach()), 0.0, plateaued=True, finished=True)


def test_an_attack_that_trains_the_victim_instead_of_itself_is_caught() -> None:
    here = world()
    before = fingerprint(here.front.state_dict())
    evidence = run(VictimTrainer(DecoderOptions(width=8), here.front), here.knowledge)
    assert not victim_unchanged(before, fingerprint(here.front.state_dict())).passed
    assert not attack_learned({"decoder": evidence}).passed


@pytest.mark.parametrize("name", NAMES)
def test_there_must_be_images_and_a_beginning(name: str) -> None:
    attack = small(name)
    with pytest.raises(AttackError, match=r"begin\(\) comes first"):
        attack.reconstruct(torch.zeros(2, 64))
    with pytest.raises(AttackError, match="19 auxiliary images"):
        attack.begin(world_for(name, auxiliary=19).knowledge, torch.Generator())


def test_options_are_validated_by_the_attack_itself() -> None:
    with pytest.raises(ValueError, match="widht"):
        build("decoder", {"widht": 3})
    with pytest.raises(ValueError, match="greater than"):
        build("decoder", {"learning_rate": 0})


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_attacks_import_nothing_that_handles_truth() -> None:
    """They may score their own validation images; what compares with victims stays out of reach."""
    allowed = ("splitfed.metrics.fast", "splitfed.metrics.fingerprint")
    folder = Path(inspect.getfile(splitfed.attacks)).parent
    for path in folder.glob("*.py"):
        for name in imports_of(path):
            assert not name.startswith("splitfed.metrics") or name.startswith(allowed), (path.name, name)
            assert not name.startswith(("splitfed.data", "splitfed.experiment.run", "splitfed.federation")), name


def test_no_attack_takes_images() -> None:
    for kind in ATTACKS.values():
        for method in ("begin", "advance", "reconstruct", "evidence"):
            signature = inspect.signature(getattr(kind, method))
            assert not any("Images" in str(p.annotation) for p in signature.parameters.values())
    assert inspect.signature(Attack.reconstruct).parameters["activation"].annotation in (Tensor, "Tensor")
