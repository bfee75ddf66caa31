"""Labels that do not travel in clear are guessed, and attacks are judged with guesses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from splitfed.attacks.inverter import Inverter
from splitfed.attacks.label_guess import fit_label_guess, guess_accuracy
from tests.attacks.worlds import run, small, world


def test_the_guess_is_the_discriminants() -> None:
    """Two classes of one covariance: the boundary is where the distances, whitened by it, are equal."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4000) % 2
    features = torch.randn(4000, 3, generator=generator) + 1.5 * labels[:, None]
    guess = fit_label_guess(features, labels, 2)
    right = float((guess(features) == labels).float().mean())
    # the best that can be: Φ(half the distance of the means), at 1.5·√3
    best = float(torch.special.ndtr(torch.tensor(1.5 * 3**0.5 / 2)))
    assert right == pytest.approx(best, abs=0.015)


def test_a_class_without_images_is_never_guessed_and_silence_gives_the_most_frequent() -> None:
    labels = torch.tensor([0] * 10 + [2] * 30)
    features = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    assert 1 not in fit_label_guess(features, labels, 3)(features).tolist()
    silent = fit_label_guess(torch.zeros(40, 4), labels, 3)
    assert set(silent(torch.zeros(5, 4)).tolist()) == {2}


@pytest.mark.parametrize("name", ["ridge", "posterior_mean", "lmmse"])
def test_attacks_are_judged_by_guessed_labels_where_these_are_hidden(name: str) -> None:
    here = world(noise=0.3, width=24)
    hidden = replace(here.knowledge, labels_in_clear=False)
    share = guess_accuracy(hidden, torch.Generator().manual_seed(0))
    assert 0.3 < share < 0.95, "a world in which labels are guessed neither well nor badly"
    clear, blind = small(name), small(name)
    knows, guesses = run(clear, here.knowledge), run(blind, hidden)
    assert guesses.validation_psnr_db < knows.validation_psnr_db
    assert isinstance(blind, Inverter)
    held_out = blind._begun.validation
    own = blind._begun.auxiliary
    right = (held_out.labels == own.labels[own.validation]).float().mean()
    assert float(right) == pytest.approx(share, abs=0.1)
    # what is observed has no labels: the attack guesses these too
    observed = here.observed()
    guessed = blind._begun.guess(hidden.features(observed))
    assert torch.equal(blind.reconstruct(observed), blind.reconstruct(observed, guessed))
