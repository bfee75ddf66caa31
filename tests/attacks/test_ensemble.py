"""The ensemble: what it learns from, what it adds, and that it is never below the best of what it is built on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from splitfed.attacks import Attack, FitEvidence, build
from splitfed.attacks.auxiliary import Predict, others_than, predict_rows
from splitfed.attacks.base import Progress
from splitfed.attacks.cross_fitting import TEMPERATURES, CrossFitting, cross_fitting, folds_of
from splitfed.attacks.ensemble import Ensemble
from splitfed.attacks.inverter import ClosedForm, Inverter, Target
from splitfed.attacks.loss import leak_losses
from splitfed.attacks.seen import Seen
from splitfed.attacks.selection import selected
from splitfed.metrics import psnr_db, ssim
from splitfed.metrics.gates import added_nothing, attack_learned
from splitfed.options import Options
from splitfed.types import Images, Knowledge
from tests.attacks.worlds import SMALL, World, run, small, world

CLOSED = ("ridge", "posterior_mean", "lmmse")
WORLDS: dict[str, dict[str, float | bool]] = {"plain": {}, "noisy": {"noise": 0.3}, "sparse": {"sparse": True}}


class Memory(ClosedForm):
    """An attack that knows the images it was fitted to by heart, and of all others only the mean of the class."""

    name = "memory"
    adaptivity = "none"
    about = "finds what it has seen"

    def __init__(self) -> None:
        super().__init__(Options())
        self._known: tuple[Tensor, Tensor] | None = None

    def advance(self) -> Progress:
        fit = self._begun.fit
        self._known = fit.seen.rows, fit.targets
        return Progress(1, 0.0, 0.0, plateaued=True, finished=True)

    def without(self, places: Tensor) -> Predict:
        assert self._known is not None
        rows, images = (each[others_than(places, len(each))] for each in self._known)
        return lambda seen: self._recalled(seen, rows, images)

    def _start(self, target: Target) -> float:
        return self._loss_on(target.validation, self._predict_start)

    def _predict(self, seen: Seen) -> Tensor:
        return self._recalled(seen, *self._known) if self._known is not None else self._predict_start(seen)

    def _recalled(self, seen: Seen, rows: Tensor, images: Tensor) -> Tensor:
        exact = torch.cdist(seen.rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        distance, nearest = exact.min(dim=1)
        return torch.where((distance < 1e-3)[:, None], images[nearest], self._predict_start(seen))

    def _parameters_moved(self) -> bool:
        return True


def ensemble_on(here: World, names: Sequence[str], more: Sequence[Attack] = (), **options: object) -> Ensemble:
    """An ensemble that has learned, with what it is built on in `_others`."""
    others = [small(name) for name in names]
    for attack in others:
        run(attack, here.knowledge)
    attack = build("ensemble", {**SMALL["ensemble"], **options})
    assert isinstance(attack, Ensemble)
    attack.build_on([*others, *more])
    run(attack, here.knowledge)
    return attack


@cache
def learned(kind: str) -> tuple[World, Ensemble]:
    here = world(width=40, **WORLDS[kind])  # type: ignore[arg-type]
    return here, ensemble_on(here, CLOSED)


def scores(here: World, attack: Attack) -> tuple[float, float]:
    made = here.images(attack)
    return float(psnr_db(made, here.victims.pixels).mean()), float(ssim(made, here.victims.pixels).mean())


def validation_losses(attack: Ensemble, made: Tensor) -> Tensor:
    target = attack._begun
    return leak_losses(made, target.validation.targets, target.auxiliary.shape)


@pytest.mark.parametrize("kind", WORLDS)
def test_it_is_never_below_its_best_input_by_more_than_its_own_error(kind: str) -> None:
    """On the validation images, and on the victims, which had no say in it."""
    here, attack = learned(kind)
    evidence = attack.evidence()
    seen = attack._begun.validation.seen
    for other in attack._others:
        assert isinstance(other, Inverter)
        gains = validation_losses(attack, predict_rows(other._predict, seen).clamp(0, 1)) - validation_losses(
            attack, predict_rows(attack._predict, seen)
        )
        assert gains.mean() >= -2 * gains.std() / len(gains) ** 0.5
    assert evidence.start_ssim is not None
    assert evidence.validation_ssim >= evidence.start_ssim
    best = max((scores(here, other) for other in attack._others), key=lambda found: found[1])
    assert scores(here, attack)[1] > best[1] - 0.003


@pytest.mark.parametrize("kind", WORLDS)
def test_it_sees_more_than_any_closed_form(kind: str) -> None:
    here, attack = learned(kind)
    assert attack_learned({"ensemble": attack.evidence()}).passed
    assert not added_nothing(attack.evidence())
    assert scores(here, attack)[1] > max(scores(here, other)[1] for other in attack._others)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("kind", WORLDS)
def test_copies_without_a_fold_are_as_good_on_it_as_the_attack_is_on_images_that_it_never_saw(
    name: str, kind: str
) -> None:
    here = world(width=40, **WORLDS[kind])  # type: ignore[arg-type]
    attack = small(name)
    assert isinstance(attack, ClosedForm)
    run(attack, here.knowledge)
    target = attack._begun
    made = torch.empty_like(target.fit.targets)
    for places in folds_of(len(made)):
        made[places] = attack.without(places)(target.fit.seen[places])
    fitted, shape = predict_rows(attack._predict, target.fit.seen), target.auxiliary.shape
    outside, inside = (leak_losses(each, target.fit.targets, shape) for each in (made, fitted))
    held_out = leak_losses(predict_rows(attack._predict, target.validation.seen), target.validation.targets, shape)
    error = float(held_out.std() / len(held_out) ** 0.5 + outside.std() / len(outside) ** 0.5)
    assert float(outside.mean() - held_out.mean()) > -2 * error, "better than on images that it never saw"
    assert float(outside.mean() - held_out.mean()) < 3 * error
    assert inside.mean() < outside.mean() - 0.01, "what it was fitted to is easier, or the test shows nothing"


def test_what_the_network_learns_from_never_knew_the_image() -> None:
    """Other pixels in a fold's images, and the same activations: what is made of them does not change."""
    here = world(width=40)
    attacks = [small(name) for name in CLOSED]
    for attack in attacks:
        run(attack, here.knowledge)
    target = attacks[0]._begun  # type: ignore[attr-defined]
    places = folds_of(len(target.fit.seen))[1]
    own = target.auxiliary.fit[places]
    forged = here.knowledge.auxiliary.pixels.clone()
    forged[own] = 1 - forged[own]
    known = replace(here.knowledge, auxiliary=replace_pixels(here.knowledge.auxiliary, forged))
    others = [small(name) for name in CLOSED]
    for attack in others:
        run(attack, known)
    made = []
    for group in (attacks, others):
        of_group = group[0]._begun  # type: ignore[attr-defined]
        stack = cross_fitting(group, of_group, [of_group.fit.features])  # type: ignore[arg-type]
        made.append(stack.without(places, [of_group.fit.features])(target.fit.seen[places]))
    # what was chosen on validation images (penalties, β, settings) may differ: the fit part had a say in it
    agree = (made[0][:, 2] - made[1][:, 2]).abs().mean()
    assert agree < 0.02
    told = (predict_rows(attacks[1]._predict, target.fit.seen[places]) - target.fit.targets[places]).abs().mean()  # type: ignore[attr-defined]
    assert agree < 0.5 * told


def replace_pixels(images: Images, pixels: Tensor) -> Images:
    return Images(pixels, images.labels, images.classes, images.groups)


@pytest.mark.parametrize("fooled", [False, True])
def test_an_attack_that_memorizes_is_not_trusted(fooled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it knows by heart is perfect, on others it is the mean of the class, and so the network has to learn it.

    Shown what the attacks make of images that they know, the network does far better on these than on others.
    """
    here = world(width=40)
    memory, others = Memory(), [small(name) for name in CLOSED]
    for attack in (memory, *others):
        run(attack, here.knowledge)
    assert torch.equal(predict_rows(memory._predict, memory._begun.fit.seen), memory._begun.fit.targets)
    if fooled:
        monkeypatch.setattr(CrossFitting, "without", lambda self, places, draws: self.whole)  # noqa: ARG005
    ensemble = build("ensemble", {**SMALL["ensemble"], "augmented_copies": 0})
    ensemble.build_on([memory, *others])
    ensemble.begin(here.knowledge, torch.Generator().manual_seed(0))
    while not (progress := ensemble.advance()).finished:
        pass
    assert (progress.train_loss < progress.validation_loss - 0.3) == fooled
    if not fooled:
        assert progress.train_loss > progress.validation_loss - 0.1
        assert scores(here, ensemble)[1] > max(scores(here, other)[1] for other in (memory, *others))


def test_where_there_is_nothing_to_add_it_says_so_and_leaves_the_best_as_it_is() -> None:
    here = world(width=8)
    silent = replace(
        here.knowledge,
        observe=lambda pixels, _: torch.zeros(len(pixels), 8),
        expected=lambda pixels: 0 * pixels.flatten(1)[:, :8],
    )
    evidence = ensemble_on(replace(here, knowledge=silent), CLOSED).evidence()
    assert evidence.start_psnr_db is not None
    assert evidence.validation_psnr_db == pytest.approx(evidence.start_psnr_db, abs=0.15)


def test_the_same_images_alone_as_in_a_batch() -> None:
    here, attack = learned("plain")
    seen, labels = here.observed()[:12].detach(), here.victims.labels[:12]
    alone = torch.cat([attack.reconstruct(seen[i : i + 1], labels[i : i + 1]) for i in range(12)])
    torch.testing.assert_close(alone, attack.reconstruct(seen, labels), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["plain", "noisy"])
def test_it_repeats_under_a_seed(kind: str) -> None:
    here, attack = learned(kind)
    again = ensemble_on(here, CLOSED)
    assert torch.equal(here.images(attack), here.images(again))


def test_networks_come_in_with_the_mean_and_an_attack_that_affords_few_is_no_input() -> None:
    here = world(width=40)
    attack = ensemble_on(here, ["ridge", "decoder", "whitebox"])
    assert [other.name for other in attack._networks()] == ["decoder"]
    assert attack.most_observations() is None
    assert len(attack._weights) == 1 + 1 + len(TEMPERATURES) + 1, "its own, ridge, the posterior means, the decoder"
    assert float(attack._weights.sum()) == pytest.approx(1.0)


def test_alone_it_is_the_posterior_mean_and_what_a_network_makes_of_it() -> None:
    here = world(width=40)
    attack = ensemble_on(here, [])
    mean = small("posterior_mean")
    run(mean, here.knowledge)
    assert scores(here, attack)[1] > scores(here, mean)[1]


def test_labels_that_are_hidden_are_guessed_and_it_holds() -> None:
    here = world(width=40)
    hidden = replace(here, knowledge=replace(here.knowledge, labels_in_clear=False))
    attack = ensemble_on(hidden, CLOSED)
    made = attack.reconstruct(here.observed(), None)
    best = [other.reconstruct(here.observed(), None) for other in attack._others]  # type: ignore[call-arg]
    found, *others = (float(ssim(each, here.victims.pixels).mean()) for each in (made, *best))
    assert found > max(others)


def test_images_with_color() -> None:
    here = world(width=40)
    pixels = here.knowledge.auxiliary.pixels[:200]
    colored = torch.cat([pixels, pixels * 0.5, 1 - pixels], dim=1)
    weight = torch.randn(3 * 64, 30, generator=torch.Generator().manual_seed(0)) * 0.2

    def observe(images: Tensor, _: torch.Generator | None = None) -> Tensor:
        return (images.flatten(1) @ weight).relu()

    known = Knowledge(
        Images(colored, here.knowledge.auxiliary.labels[:200], here.victims.classes),
        observe,
        expected=observe,
        front=here.front,
    )
    attack = ensemble_on(replace(here, knowledge=known), ["ridge"])
    assert attack.reconstruct(observe(colored[:5]), here.knowledge.auxiliary.labels[:5]).shape == (5, 3, 8, 8)


def test_it_learns_from_fewer_draws_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(width=40, noise=0.3)
    attack = small("ensemble")
    assert isinstance(attack, Ensemble)
    attack.begin(here.knowledge, torch.Generator().manual_seed(0))
    assert len(attack._draws(attack._begun)) == 3
    numbers = attack._begun.fit.targets.numel()
    monkeypatch.setattr("splitfed.attacks.ensemble.MOST_NUMBERS", 2 * 5 * numbers)
    assert len(attack._draws(attack._begun)) == 2
    monkeypatch.setattr("splitfed.attacks.ensemble.MOST_NUMBERS", 1)
    assert len(attack._draws(attack._begun)) == 1


def test_until_it_has_worked_it_shows_the_mean_of_the_class_and_then_the_best_of_the_others() -> None:
    here = world(width=40)
    ridge, attack = small("ridge"), small("ensemble")
    run(ridge, here.knowledge)
    attack.build_on([ridge])
    attack.begin(here.knowledge, torch.Generator().manual_seed(0))
    assert scores(here, attack)[0] < scores(here, ridge)[0]
    attack.advance()
    assert scores(here, attack)[1] >= scores(here, ridge)[1] - 1e-6
    evidence: FitEvidence = attack.evidence()
    assert added_nothing(evidence)


def test_a_selection_is_at_least_as_good_as_what_it_begins_with_and_finds_the_mean() -> None:
    truth = torch.rand(50, 16, generator=torch.Generator().manual_seed(0))
    errors = 0.1 * torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(1))
    library = torch.stack([truth + errors[0], truth + errors[1], torch.zeros_like(truth)])

    def loss(images: Tensor) -> float:
        return float((images - truth).square().mean())

    weights = selected(library, 0, loss)
    assert weights.tolist() == pytest.approx([0.5, 0.5, 0.0], abs=0.06)
    assert loss(torch.einsum("m,mnp->np", weights, library)) < 0.6 * loss(library[0])
    assert selected(torch.stack([truth, truth + errors[0]]), 0, loss).tolist() == [1.0, 0.0]


def test_options_are_validated() -> None:
    with pytest.raises(ValueError, match="greater than or equal"):
        build("ensemble", {"draws": 0})
