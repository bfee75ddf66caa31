"""The decoder: where it starts, what it keeps, when it stops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from splitfed.attacks import build
from splitfed.attacks.auxiliary import split_auxiliary
from splitfed.attacks.base import images_of
from splitfed.attacks.schedule import DECAYS, PATIENCE_EPOCHS, WARM_UP_EPOCHS, Schedule
from splitfed.errors import AttackError
from splitfed.metrics import class_mean, psnr_db
from splitfed.metrics.gates import attack_learned
from splitfed.types import Images, Knowledge
from tests.attacks.worlds import one_ridge_for_all, run, small, world


def test_it_starts_exactly_at_ridge() -> None:
    here = world()
    ridge, decoder = small("ridge"), small("decoder")
    run(ridge, here.knowledge, seed=3)
    decoder.begin(here.knowledge, torch.Generator().manual_seed(3))
    observed = here.observed()
    torch.testing.assert_close(decoder.reconstruct(observed), ridge.reconstruct(observed))


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_training_improves_on_ridge_for_images_that_it_has_never_seen(noise: float) -> None:
    here = world(noise=noise, width=48)
    scores = {}
    for name in ("ridge", "decoder"):
        attack = small(name)
        run(attack, here.knowledge)
        scores[name] = float(psnr_db(here.images(attack), here.victims.pixels).mean())
    for_all = float(psnr_db(one_ridge_for_all(here), here.victims.pixels).mean())
    assert scores["decoder"] > for_all + 0.3, (scores, for_all)
    assert scores["decoder"] > scores["ridge"] + 0.2, scores  # which has a regression for each label


def test_the_best_epoch_on_validation_is_kept() -> None:
    here = world()
    attack = small("decoder")
    attack.begin(here.knowledge, torch.Generator().manual_seed(0))
    kept = []
    losses = []
    for _ in range(12):
        losses.append(attack.advance().validation_loss)
        kept.append(attack.evidence().validation_psnr_db)
    best_so_far = [min(losses[: epoch + 1]) for epoch in range(12)]
    for epoch in range(1, 12):
        unchanged = best_so_far[epoch] == best_so_far[epoch - 1]
        assert (kept[epoch] == kept[epoch - 1]) == unchanged


def test_a_new_front_is_faced_with_a_warm_start() -> None:
    """Going on with almost the same front is better, at first, than starting anew on it."""
    before, after = world(noise=0.1), world(noise=0.1)
    with torch.no_grad():
        for weights in after.front.parameters():
            weights.mul_(1.01)
    warm, cold = small("decoder"), small("decoder")
    run(warm, before.knowledge)
    for attack in (warm, cold):
        attack.begin(after.knowledge, torch.Generator().manual_seed(1))
    assert warm.advance().validation_loss < cold.advance().validation_loss
    assert attack_learned({"decoder": warm.evidence()}).passed


def test_a_warm_start_that_only_hurts_is_dropped() -> None:
    before, after = world(), world(front_seed=1)
    attack, ridge = small("decoder"), small("ridge")
    run(attack, before.knowledge)
    attack.begin(after.knowledge, torch.Generator().manual_seed(1))
    # the split must be the decoder's for a fair comparison, so ridge faces the same two fronts
    run(ridge, before.knowledge)
    run(ridge, after.knowledge)
    start = psnr_db(after.images(attack), after.victims.pixels).mean()
    alone = psnr_db(after.images(ridge), after.victims.pixels).mean()
    torch.testing.assert_close(start, alone)


def test_auxiliary_images_may_be_added_but_not_exchanged() -> None:
    attack = small("ridge")
    few, many = world(auxiliary=100).knowledge, world(auxiliary=400).knowledge
    run(attack, few)
    run(attack, many)
    with pytest.raises(AttackError, match="do not begin with"):
        run(attack, few)


def test_what_an_image_is_for_does_not_depend_on_how_many_there_are() -> None:
    few, many = world(auxiliary=105).knowledge, world(auxiliary=400).knowledge
    first = split_auxiliary(few, before=None)
    second = split_auxiliary(many, before=first)
    assert torch.equal(second.validation, split_auxiliary(many, before=None).validation)
    assert set(first.fit.tolist()) <= set(second.fit.tolist())
    assert set(first.validation.tolist()) <= set(second.validation.tolist())
    assert sorted([*second.fit.tolist(), *second.validation.tolist()]) == list(range(400))
    assert len(second.validation) == 40


def test_a_front_that_says_nothing_gives_about_the_mean_image_of_the_class() -> None:
    here = world()
    silent = replace(here.knowledge, observe=lambda pixels, _: torch.zeros(len(pixels), 8))
    attack = build("decoder", {"width": 8, "max_epochs": 2, "ssim_weight": 0.0})
    run(attack, silent)
    guess = images_of(attack, torch.zeros(10, 8), torch.arange(10))
    means = class_mean(here.knowledge.auxiliary, replace(here.victims, labels=torch.arange(10)))
    assert (guess - means).abs().mean() < 0.1


def test_constant_images_do_not_break_the_loss() -> None:
    pixels = torch.zeros(40, 1, 8, 8)
    images = Images(pixels, torch.zeros(40, dtype=torch.int64), ("black",))
    knowledge = Knowledge(images, lambda x, _: x.flatten(1) + 0.5, expected=nn.Flatten(), front=nn.Flatten())
    attack = build("decoder", {"width": 8, "max_epochs": 2})
    run(attack, knowledge)
    assert torch.equal(attack.reconstruct(torch.full((3, 64), 0.5)), pixels[:3])


def test_the_schedule_slows_down_then_stops_where_nothing_improves() -> None:
    schedule = Schedule(0.1, 1000, start_loss=1.0)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rates = []
    while not schedule.finished:
        schedule.set_rate(optimizer)
        rates.append(optimizer.param_groups[0]["lr"])
        assert not schedule.judge(1.0)
    assert schedule.plateaued
    assert len(rates) == PATIENCE_EPOCHS * (DECAYS + 1)
    assert rates[0] == pytest.approx(0.1 / WARM_UP_EPOCHS)
    warm = rates[WARM_UP_EPOCHS - 1 :]
    assert warm == sorted(warm, reverse=True)
    assert len(set(warm)) == DECAYS + 1


def test_the_schedule_ends_annealed_at_its_cap() -> None:
    schedule = Schedule(0.1, 10, start_loss=100.0)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rates = []
    for epoch in range(10):
        assert not schedule.finished
        schedule.set_rate(optimizer)
        rates.append(optimizer.param_groups[0]["lr"])
        assert schedule.judge(10.0 - epoch)
    assert schedule.finished
    assert not schedule.plateaued
    assert rates[:6] == pytest.approx([0.05, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert rates[6:] == pytest.approx([0.1, 0.075, 0.05, 0.025])
